// y [B dim]: sin(t f) then cos(t f), or flipped, for the frequencies f; an odd last column is zero.
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 64) in;
uniform samplerBuffer T;
uniform samplerBuffer Freqs;
uniform int count, dim, flip;
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };

void main() {
    int i = invocation_index();
    if (i >= count) {
        return;
    }
    int row = quotient(i, dim), half_dim = dim / 2;
    int k = i - row * dim;
    int part = k < half_dim ? 0 : (k < 2 * half_dim ? 1 : 2);
    if (part == 2) {
        y[i] = 0.0;
        return;
    }
    float angle = texelFetch(T, row).x * texelFetch(Freqs, k - part * half_dim).x;
    // near zero, in steps of 2*pi whose parts multiply exactly: drivers may be coarse far from it
    float turns = round(angle * 0.15915494309);
    angle = ((angle - turns * 6.28125) - turns * 1.934051513671875e-3) - turns * 1.2556659146e-6;
    y[i] = part == flip ? sin(angle) : cos(angle);
}
