// Sums of dz and of dz·x̂ over each channel's stretches, [batch parts columns].
#include "group_norm_grad.glsl"
uniform samplerBuffer Mean;  // [batch columns]
uniform samplerBuffer Scale; // [batch columns]
layout(std430, binding = 0) writeonly buffer Y0 { ITEM sums[]; };
layout(std430, binding = 1) writeonly buffer Y1 { ITEM products[]; };

void main() {
    int i = invocation_index();
    Stretch s = stretch_at(i);
    if (s.image >= batch) {
        return;
    }
    int statistic = s.image * columns + s.column;
    ITEM mean = FETCH(Mean, statistic), scale = FETCH(Scale, statistic);
    ITEM gamma = gamma_of(s.column), beta = beta_of(s.column);
    ITEM sum = ITEM(0.0), product = ITEM(0.0);
    for (int at = s.first; at < s.end; at += columns) {
        ITEM normed = (FETCH(X, at) - mean) * scale;
        ITEM dz = FETCH(Dy, at) * slope(gamma * normed + beta);
        sum += dz;
        product += dz * normed;
    }
    sums[i] = sum;
    products[i] = product;
}
