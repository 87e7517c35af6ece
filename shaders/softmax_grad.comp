// Gradient of softmax: y = p (dy - sum of p dy) along each row, where X is softmax's result p.
#include "rows.glsl"
uniform samplerBuffer DY;

void main() {
    int row = row_index();
    if (row >= rows) {
        return;
    }
    int base = row * columns;
    ITEM sum = ITEM(0.0);
    for (int k = lane(); k < columns; k += LANES) {
        sum += FETCH(X, base + k) * FETCH(DY, base + k);
    }
    float mean = row_sum(inside(sum));
    for (int k = lane(); k < columns; k += LANES) {
        y[base + k] = FETCH(X, base + k) * (FETCH(DY, base + k) - mean);
    }
}
