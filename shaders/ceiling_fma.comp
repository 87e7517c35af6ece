// The arithmetic ceiling: multiply-adds on registers only, 16 at a time in each of 3 independent vec4 chains. More chains leave
// the registers of software drivers, and fewer steps at a time let the loop's own work count.
// FLOPs per invocation: rounds * 16 steps * 3 chains * 4 lanes * 2.
#include "grid.glsl"
layout(local_size_x = 64) in;
uniform int rounds;
uniform float seed;
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };

void main() {
    int i = invocation_index();
    vec4 m = vec4(0.999f * seed + float(i & 63) * 1e-6f);
    vec4 chain[3];
    for (int j = 0; j < 3; j++) {
        chain[j] = vec4(float(i & 255) + float(j));
    }
    for (int r = 0; r < rounds; r++) {
        for (int step = 0; step < 16; step++) {
            for (int j = 0; j < 3; j++) {
                chain[j] = chain[j] * m + m;
            }
        }
    }
    y[i] = chain[0] + chain[1] + chain[2];
}
