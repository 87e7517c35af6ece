// Reductions along rows of columns items: an invocation a row, or with SHARED a workgroup a row. An item is a texel with QUAD,
// else an element. The result has the items of all rows, or with ROW_RESULT a number for each row.
#include "grid.glsl"
uniform samplerBuffer X;
uniform int rows, columns;

#if defined(QUAD) && !defined(ROW_RESULT)
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
#else
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };
#endif

#ifdef QUAD
#define ITEM vec4
#define FETCH(sampler, i) texelFetch(sampler, i)
const int WIDTH = 4;
float inside(vec4 v) { return (v.x + v.y) + (v.z + v.w); }
float top_inside(vec4 v) { return max(max(v.x, v.y), max(v.z, v.w)); }
#else
#define ITEM float
#define FETCH(sampler, i) texelFetch(sampler, i).x
const int WIDTH = 1;
float inside(float v) { return v; }
float top_inside(float v) { return v; }
#endif

#ifdef SHARED
layout(local_size_x = 64) in;
const int LANES = 64;
shared float partial[LANES];

// All invocations of the workgroup are here, and see what the others wrote: barrier() alone does not promise the second.
void meet() {
    memoryBarrierShared();
    barrier();
}

int lane() { return int(gl_LocalInvocationID.x); }
int row_index() { return group_index(); }

float row_sum(float v) {
    partial[lane()] = v;
    meet();
    for (int reach = LANES / 2; reach > 0; reach /= 2) {
        if (lane() < reach) {
            partial[lane()] += partial[lane() + reach];
        }
        meet();
    }
    float all = partial[0];
    meet();
    return all;
}

float row_top(float v) {
    partial[lane()] = v;
    meet();
    for (int reach = LANES / 2; reach > 0; reach /= 2) {
        if (lane() < reach) {
            partial[lane()] = max(partial[lane()], partial[lane() + reach]);
        }
        meet();
    }
    float all = partial[0];
    meet();
    return all;
}
#else
layout(local_size_x = 16) in;
const int LANES = 1;
int lane() { return 0; }
int row_index() { return invocation_index(); }
float row_sum(float v) { return v; }
float row_top(float v) { return v; }
#endif
