// Sums, with SQUARES of squares, or with MAX largest elements, of x [outer extent inner] over the middle, each split into interleaved parts: y is
// [outer parts inner]. With QUAD inner counts texels; with ROW extent does, inner is 1, and a texel holds four of one sum.
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform int outer, extent, inner, parts;
uniform float scale;

#if defined(QUAD) || defined(ROW)
#define ITEM vec4
#define FETCH(i) texelFetch(X, i)
#else
#define ITEM float
#define FETCH(i) texelFetch(X, i).x
#endif

#ifdef QUAD
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
#else
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };
#endif

// larger keeps a NaN of either side.
float larger(float a, float b) { return b > a || isnan(b) ? b : a; }
vec4 larger(vec4 a, vec4 b) { return vec4(larger(a.x, b.x), larger(a.y, b.y), larger(a.z, b.z), larger(a.w, b.w)); }

void main() {
    int i = invocation_index();
    int r = quotient(i, inner);
    int a = quotient(r, parts);
    if (a >= outer) {
        return;
    }
    int base = a * extent * inner + i - r * inner;
    int k = r - a * parts;
#ifdef MAX
    ITEM all = FETCH(base + k * inner);
    for (; k < extent; k += parts) {
        all = larger(all, FETCH(base + k * inner));
    }
#else
    // sums of 64, then the sum of those: rounding grows with neither number alone
    ITEM all = ITEM(0.0);
    while (k < extent) {
        ITEM sum = ITEM(0.0);
        int end = min(k + 64 * parts, extent);
        for (; k < end; k += parts) {
            ITEM v = FETCH(base + k * inner);
#ifdef SQUARES
            v *= v;
#endif
            sum += v;
        }
        all += sum;
    }
    all *= scale;
#endif
#ifdef ROW
#ifdef MAX
    y[i] = larger(larger(all.x, all.y), larger(all.z, all.w));
#else
    y[i] = (all.x + all.y) + (all.z + all.w);
#endif
#else
    y[i] = all;
#endif
}
