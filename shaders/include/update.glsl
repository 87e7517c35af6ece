// The frame of shaders that change variables texel by texel: the shader defines void update(int i) for texel i of all of them.
// They are bound for reading and writing; elements beyond the end only fill the last texel.
#include "grid.glsl"
layout(local_size_x = 64) in;
uniform int texels;

void update(int i);

void main() {
    int first = group_index() * 256 + int(gl_LocalInvocationID.x);
    for (int i = first; i < min(first + 256, texels); i += 64) {
        update(i);
    }
}
