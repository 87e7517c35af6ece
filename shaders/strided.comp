// y[i] = x[first + sum of positions times steps]: RANK merged axes, extents d0 ... from the innermost out, along which X steps by
// s elements (0 where it repeats). With QUAD the innermost step is 0 or 1 and texels stay whole.
#include "elementwise.glsl"
uniform samplerBuffer X;
uniform int first;
uniform int d0, s0;
#if RANK > 1
uniform int d1, s1;
#endif
#if RANK > 2
uniform int d2, s2;
#endif
#if RANK > 3
uniform int d3, s3, d4, s4, d5, s5;
#endif

int offset(int i) {
    int at = first;
    int q;
#define AXIS(d, s) q = quotient(i, d); at += (i - q * d) * s; i = q;
#if RANK > 1
    AXIS(d0, s0)
#endif
#if RANK > 2
    AXIS(d1, s1)
#endif
#if RANK > 3
    AXIS(d2, s2)
    AXIS(d3, s3)
    AXIS(d4, s4)
#endif
    // what is left is the position on the outermost axis
#if RANK == 1
    return at + i * s0;
#elif RANK == 2
    return at + i * s1;
#elif RANK == 3
    return at + i * s2;
#else
    return at + i * s5;
#endif
}

#ifdef QUAD
vec4 quad(int i) {
    int at = offset(4 * i);
    vec4 x = texelFetch(X, at >> 2);
    return s0 == 0 ? vec4(x[at & 3]) : x;
}
#else
float element(int i) { return texelFetch(X, offset(i)).x; }
#endif
