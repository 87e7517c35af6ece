// Layer norm (CENTRED) and RMS norm of each row, with GAMMA and BETA where present. Deviations are taken from the mean, in a
// second pass, so that a large mean costs no digits.
#include "rows.glsl"
uniform float eps;
#ifdef GAMMA
uniform samplerBuffer Gamma;
#endif
#ifdef BETA
uniform samplerBuffer Beta;
#endif

void main() {
    int row = row_index();
    if (row >= rows) {
        return;
    }
    int base = row * columns;
    float count = float(columns * WIDTH);
    float mean = 0.0;
#ifdef CENTRED
    ITEM sum = ITEM(0.0);
    for (int k = lane(); k < columns; k += LANES) {
        sum += FETCH(X, base + k);
    }
    mean = row_sum(inside(sum)) / count;
#endif
    ITEM squares = ITEM(0.0);
    for (int k = lane(); k < columns; k += LANES) {
        ITEM d = FETCH(X, base + k) - mean;
        squares += d * d;
    }
    float scale = 1.0 / sqrt(row_sum(inside(squares)) / count + eps);
    for (int k = lane(); k < columns; k += LANES) {
        ITEM v = (FETCH(X, base + k) - mean) * scale;
#ifdef GAMMA
        v *= FETCH(Gamma, k);
#endif
#ifdef BETA
        v += FETCH(Beta, k);
#endif
        y[base + k] = v;
    }
}
