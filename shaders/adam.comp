// Adam and AdamW: parameter p, mean m of its gradients, mean v of their squares. Rate holds the learning rate, that over the
// correction of m, and the root of the correction of v.
#include "optimiser.glsl"
layout(std430, binding = 0) buffer P0 { vec4 p[]; };
layout(std430, binding = 1) buffer P1 { vec4 m[]; };
layout(std430, binding = 2) buffer P2 { vec4 v[]; };
uniform float keepMean, addMean, keepSquare, addSquare, eps, shrink, penalty;

void update(int i) {
    if (!trusted()) {
        return;
    }
    vec4 rate = texelFetch(Rate, 0);
    vec4 w = p[i];
    vec4 g = gradient(i) + penalty * w;
    vec4 mean = keepMean * m[i] + addMean * g;
    vec4 square = keepSquare * v[i] + addSquare * g * g;
    m[i] = mean;
    v[i] = square;
    p[i] = w * (1.0 - rate.x * shrink) - rate.y * mean / (sqrt(square) / rate.z + eps);
}
