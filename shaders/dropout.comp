// y = scale * x, or 0 where the element's word of a random block is under the threshold.
#include "elementwise.glsl"
#include "philox.glsl"
uniform samplerBuffer X;
uniform int threshold; // bits of an unsigned number
uniform int site;
uniform float scale;

vec4 quad(int i) {
    uvec4 w = random_block(i, site);
    return mix(scale * texelFetch(X, i), vec4(0.0), lessThan(w, uvec4(uint(threshold))));
}
