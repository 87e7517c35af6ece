// Softmax of each row, from the row's largest element so that nothing overflows.
#include "rows.glsl"

void main() {
    int row = row_index();
    if (row >= rows) {
        return;
    }
    int base = row * columns;
    ITEM most = FETCH(X, base);
    for (int k = lane(); k < columns; k += LANES) {
        most = max(most, FETCH(X, base + k));
    }
    float top = row_top(top_inside(most));
    ITEM sum = ITEM(0.0);
    for (int k = lane(); k < columns; k += LANES) {
        sum += exp(FETCH(X, base + k) - top);
    }
    float scale = 1.0 / row_sum(inside(sum));
    for (int k = lane(); k < columns; k += LANES) {
        y[base + k] = exp(FETCH(X, base + k) - top) * scale;
    }
}
