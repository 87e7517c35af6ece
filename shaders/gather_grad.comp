// dx [outer, extent, inner]: each row adds up, in order, the rows of dy [outer, ids, inner] that were taken from it.
#include "elementwise.glsl"
uniform samplerBuffer DY;
uniform samplerBuffer Index;
uniform int inner, ids, extent;

vec4 gathered(int i) {
    int r = quotient(i, inner);
    int outer = quotient(r, extent);
    int row = r - outer * extent, column = i - r * inner;
    vec4 sum = vec4(0.0);
    for (int k = 0; k < ids; k++) {
        float id = texelFetch(Index, k).x;
        int pick = id > 0.0 ? int(min(id, float(extent - 1))) : 0;
        if (pick == row) {
            sum += texelFetch(DY, (outer * ids + k) * inner + column);
        }
    }
    return sum;
}

#ifdef QUAD
vec4 quad(int i) { return gathered(i); }
#else
float element(int i) { return gathered(i).x; }
#endif
