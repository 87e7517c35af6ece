// Each row's loss -log softmax(x)[target], the target smoothed, or with GRADIENT dy times the gradient of x. A negative target
// counts as nothing.
#include "rows.glsl"
uniform samplerBuffer Target;
uniform float smoothing;
#ifdef GRADIENT
uniform samplerBuffer DY;
#endif

#ifdef QUAD
float inside_at(vec4 v, int i) { return v[i]; }
ITEM one_at(int i) { return vec4(equal(ivec4(i), ivec4(0, 1, 2, 3))); }
#else
float inside_at(float v, int i) { return v; }
ITEM one_at(int i) { return 1.0; }
#endif

void main() {
    int row = row_index();
    if (row >= rows) {
        return;
    }
    int base = row * columns;
    ITEM most = FETCH(X, base);
    ITEM all = ITEM(0.0);
    for (int k = lane(); k < columns; k += LANES) {
        ITEM v = FETCH(X, base + k);
        most = max(most, v);
        all += v;
    }
    float top = row_top(top_inside(most));
    ITEM sum = ITEM(0.0);
    for (int k = lane(); k < columns; k += LANES) {
        sum += exp(FETCH(X, base + k) - top);
    }
    float total = row_sum(inside(sum));
    float id = texelFetch(Target, row).x;
    int target = id > 0.0 ? int(min(id, float(columns * WIDTH - 1))) : 0;
    float count = float(columns * WIDTH);
#ifdef GRADIENT
    float dy = id < 0.0 ? 0.0 : texelFetch(DY, row).x;
    for (int k = lane(); k < columns; k += LANES) {
        ITEM p = exp(FETCH(X, base + k) - top) / total - smoothing / count;
        if (k == target / WIDTH) {
            p -= (1.0 - smoothing) * one_at(target % WIDTH);
        }
        y[base + k] = dy * p;
    }
#else
    float mean = row_sum(inside(all)) / count;
    if (lane() == 0) {
        float wanted = inside_at(FETCH(X, base + target / WIDTH), target % WIDTH);
        y[row] = id < 0.0 ? 0.0 : log(total) + (1.0 - smoothing) * (top - wanted) + smoothing * (top - mean);
    }
#endif
}
