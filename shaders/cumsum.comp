// Running sums of x [outer extent inner] along the middle, from its end with reverse; an invocation a line.
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform int lines, extent, inner, reverse;
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };

void main() {
    int line = invocation_index();
    if (line >= lines) {
        return;
    }
    int outer = quotient(line, inner);
    int i = outer * extent * inner + line - outer * inner;
    int step = inner;
    if (reverse != 0) {
        i += (extent - 1) * inner;
        step = -inner;
    }
    // sums of 64, then the sum of those: rounding grows with neither number alone
    float before = 0.0;
    for (int first = 0; first < extent; first += 64) {
        float sum = 0.0;
        for (int k = first; k < min(first + 64, extent); k++) {
            sum += texelFetch(X, i).x;
            y[i] = before + sum;
            i += step;
        }
        before += sum;
    }
}
