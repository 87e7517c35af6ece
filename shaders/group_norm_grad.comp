// The gradient of x through group norm: (gamma·dz − the group's mean of it − x̂·the group's mean of gamma·dz·x̂)/σ.
#include "group_norm_grad.glsl"
uniform samplerBuffer Moments;  // [batch 4 columns]
uniform samplerBuffer Sums;     // [batch columns], as those of group_norm_share.comp
uniform samplerBuffer Products; // [batch columns]
layout(std430, binding = 0) writeonly buffer Y0 { ITEM y[]; };

void main() {
    Stretch s = stretch_at(invocation_index());
    if (s.image >= batch) {
        return;
    }
    int moment = s.image * 4 * columns + s.column, share = s.image * columns + s.column;
    ITEM mean = FETCH(Moments, moment), scale = FETCH(Moments, moment + columns);
    ITEM sum = FETCH(Sums, share), product = FETCH(Products, share);
    ITEM gamma = gamma_of(s.column), beta = beta_of(s.column);
    for (int at = s.first; at < s.end; at += columns) {
        ITEM normed = (FETCH(X, at) - mean) * scale;
        ITEM dz = FETCH(Dy, at) * slope(gamma * normed + beta);
        y[at] = scale * (gamma * dz - sum - normed * product);
    }
}
