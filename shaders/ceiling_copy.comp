// The memory ceiling: y = x, one vec4 per step, four steps per invocation.
layout(local_size_x = 64) in;
#include "grid.glsl"
uniform samplerBuffer X;
uniform int texels;
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };

void main() {
    int first = group_index() * 256 + int(gl_LocalInvocationID.x);
    for (int i = first; i < min(first + 256, texels); i += 64) {
        y[i] = texelFetch(X, i);
    }
}
