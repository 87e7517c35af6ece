// RMSprop: parameter p, mean of squares s, with CENTRED the mean of gradients m, and with MOMENTUM (the binding) the momentum b.
#include "optimiser.glsl"
layout(std430, binding = 0) buffer P0 { vec4 p[]; };
layout(std430, binding = 1) buffer P1 { vec4 s[]; };
#ifdef CENTRED
layout(std430, binding = 2) buffer P2 { vec4 m[]; };
#endif
#ifdef MOMENTUM
layout(std430, binding = MOMENTUM) buffer P3 { vec4 b[]; };
#endif
uniform float alpha, rest, eps, momentum, penalty;

void update(int i) {
    if (!trusted()) {
        return;
    }
    vec4 w = p[i];
    vec4 g = gradient(i) + penalty * w;
    vec4 square = alpha * s[i] + rest * g * g;
    s[i] = square;
#ifdef CENTRED
    vec4 mean = alpha * m[i] + rest * g;
    m[i] = mean;
    square = max(square - mean * mean, vec4(0.0));
#endif
    vec4 move = g / (sqrt(square) + eps);
#ifdef MOMENTUM
    move += momentum * b[i];
    b[i] = move;
#endif
    p[i] = w - texelFetch(Rate, 0).x * move;
}
