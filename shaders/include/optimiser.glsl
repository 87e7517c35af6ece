// What optimisers read: the gradient, its scale, and the learning rate with what goes with it.
#include "update.glsl"
uniform samplerBuffer Gradient;
uniform samplerBuffer Scale;
uniform samplerBuffer Rate;

vec4 gradient(int i) { return texelFetch(Scale, 0).x * texelFetch(Gradient, i); }
