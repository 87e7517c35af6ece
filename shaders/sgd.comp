// Stochastic gradient descent: parameter p, with MOMENTUM its momentum b, with NESTEROV a look ahead along that.
#include "optimiser.glsl"
layout(std430, binding = 0) buffer P0 { vec4 p[]; };
#ifdef MOMENTUM
layout(std430, binding = 1) buffer P1 { vec4 b[]; };
#endif
uniform float momentum, penalty;

void update(int i) {
    if (!trusted()) {
        return;
    }
    vec4 w = p[i];
    vec4 g = gradient(i) + penalty * w;
#ifdef MOMENTUM
    vec4 along = momentum * b[i] + g;
    b[i] = along;
#ifdef NESTEROV
    g += momentum * along;
#else
    g = along;
#endif
#endif
    p[i] = w - texelFetch(Rate, 0).x * g;
}
