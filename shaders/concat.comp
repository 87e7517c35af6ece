// Copies x, rows of part items, to items first ... of the result's rows of row items. An item is a texel with QUAD, else an element.
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform int count, part, first, row;
#ifdef QUAD
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
#define ITEM(v) v
#else
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };
#define ITEM(v) (v).x
#endif

void main() {
    int begin = group_index() * 256 + int(gl_LocalInvocationID.x);
    for (int i = begin; i < min(begin + 256, count); i += 64) {
        int r = quotient(i, part);
        y[r * row + first + i - r * part] = ITEM(texelFetch(X, i));
    }
}
