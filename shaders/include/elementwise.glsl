// The frame of shaders that compute a result texel by texel. With QUAD the shader defines vec4 quad(int i), texel i of the
// result; without it, float element(int i), and four elements make a texel. Elements beyond the end only fill the last texel.
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
uniform int texels;

#ifdef QUAD
vec4 quad(int i);
#else
float element(int i);
vec4 quad(int i) {
    return vec4(element(4 * i), element(4 * i + 1), element(4 * i + 2), element(4 * i + 3));
}
#endif

void main() {
    int first = group_index() * 256 + int(gl_LocalInvocationID.x);
    for (int i = first; i < min(first + 256, texels); i += 64) {
        y[i] = quad(i);
    }
}
