// The arithmetic ceiling: multiply-adds on registers only, in 16 independent vec4 chains per invocation.
// FLOPs per invocation: rounds * 16 chains * 4 lanes * 2.
layout(local_size_x = 64) in;
#include "grid.glsl"
uniform int rounds;
uniform float seed;
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };

void main() {
    int i = invocation_index();
    vec4 m = vec4(0.999f, 0.998f, 0.997f, 0.996f) * seed;
    vec4 c = vec4(float(i & 255) * 1e-3f);
    vec4 a0 = c, a1 = c + 1.0f, a2 = c + 2.0f, a3 = c + 3.0f, a4 = c + 4.0f, a5 = c + 5.0f, a6 = c + 6.0f, a7 = c + 7.0f;
    vec4 b0 = -c, b1 = 1.0f - c, b2 = 2.0f - c, b3 = 3.0f - c, b4 = 4.0f - c, b5 = 5.0f - c, b6 = 6.0f - c, b7 = 7.0f - c;
    for (int r = 0; r < rounds; r++) {
        a0 = a0 * m + c; a1 = a1 * m + c; a2 = a2 * m + c; a3 = a3 * m + c;
        a4 = a4 * m + c; a5 = a5 * m + c; a6 = a6 * m + c; a7 = a7 * m + c;
        b0 = b0 * m + c; b1 = b1 * m + c; b2 = b2 * m + c; b3 = b3 * m + c;
        b4 = b4 * m + c; b5 = b5 * m + c; b6 = b6 * m + c; b7 = b7 * m + c;
    }
    y[i] = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + b0 + b1 + b2 + b3 + b4 + b5 + b6 + b7;
}
