// Philox4x32-10: block i gives elements 4i ... 4i+3, uniform or, with NORMAL, standard normal.
#include "grid.glsl"
#include "philox.glsl"
layout(local_size_x = 64) in;
uniform int blocks;
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };

// -2 log((x + 1/2) / 2^32). Where that is close to log 1, the series in 1 minus the argument, which is exact as an integer.
float minus_2_log(uint x) {
    if (x > 0xfc000000u) {
        float v = (float(~x) + 0.5) * 2.3283064365386963e-10;
        return 2.0 * v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
    }
    return -2.0 * log((float(x) + 0.5) * 2.3283064365386963e-10);
}

// Box and Muller's pair.
vec2 normals(uint a, uint b) {
    float radius = sqrt(minus_2_log(a));
    // b as a fraction of a turn in [-1/2, 1/2): sine and cosine are exact enough there
    float angle = 6.283185307179586 * ((float(int(b)) + 0.5) * 2.3283064365386963e-10);
    return radius * vec2(cos(angle), sin(angle));
}

void main() {
    int i = invocation_index();
    if (i >= blocks) {
        return;
    }
    uvec4 w = random_block(i, 0);
#ifdef NORMAL
    y[i] = vec4(normals(w.x, w.y), normals(w.z, w.w));
#else
    y[i] = (vec4(w) + 0.5) * 2.3283064365386963e-10;
#endif
}
