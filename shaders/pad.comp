// y = x surrounded by value: RANK axes from the innermost out, extent d in y and e in x, which begins at b. With QUAD the
// innermost axis counts texels.
#include "elementwise.glsl"
uniform samplerBuffer X;
uniform float value;
uniform int d0, e0, b0;
#if RANK > 1
uniform int d1, e1, b1;
#endif
#if RANK > 2
uniform int d2, e2, b2;
#endif
#if RANK > 3
uniform int d3, e3, b3, d4, e4, b4, d5, e5, b5;
#endif

// The element of X for result element i, or -1 in the padding.
int source(int i) {
    int at = 0, stride = 1, q, p;
    bool inside = true;
#define AXIS(d, e, b) q = quotient(i, d); p = i - q * d - b; inside = inside && p >= 0 && p < e; at += p * stride; stride *= e; i = q;
    AXIS(d0, e0, b0)
#if RANK > 1
    AXIS(d1, e1, b1)
#endif
#if RANK > 2
    AXIS(d2, e2, b2)
#endif
#if RANK > 3
    AXIS(d3, e3, b3)
    AXIS(d4, e4, b4)
    AXIS(d5, e5, b5)
#endif
    return inside ? at : -1;
}

#ifdef QUAD
vec4 quad(int i) {
    int at = source(i);
    return at < 0 ? vec4(value) : texelFetch(X, at);
}
#else
float element(int i) {
    int at = source(i);
    return at < 0 ? value : texelFetch(X, at).x;
}
#endif
