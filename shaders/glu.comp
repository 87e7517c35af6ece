// y [rows, hidden] = value * ACT(gate) for x [rows, value then gate]; hidden counts texels with QUAD.
#include "elementwise.glsl"
#include "activation.glsl"
uniform samplerBuffer X;
uniform int hidden;

vec4 gated(int i) {
    int at = i + quotient(i, hidden) * hidden;
    return texelFetch(X, at) * ACT(texelFetch(X, at + hidden));
}

#ifdef QUAD
vec4 quad(int i) { return gated(i); }
#else
float element(int i) { return gated(i).x; }
#endif
