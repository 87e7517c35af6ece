// y [outer, ids, inner] = x [outer, extent, inner] at the indices; inner counts texels with QUAD.
#include "elementwise.glsl"
uniform samplerBuffer X;
uniform samplerBuffer Index;
uniform int inner, ids, extent;

int source(int i) {
    int r = quotient(i, inner);
    int outer = quotient(r, ids);
    float id = texelFetch(Index, r - outer * ids).x;
    int pick = id > 0.0 ? int(min(id, float(extent - 1))) : 0;
    return (outer * extent + pick) * inner + i - r * inner;
}

#ifdef QUAD
vec4 quad(int i) { return texelFetch(X, source(i)); }
#else
float element(int i) { return texelFetch(X, min(source(i), textureSize(X) - 1)).x; }
#endif
