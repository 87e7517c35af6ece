// What optimisers read: the gradient, its scale, and the learning rate with what goes with it.
#include "update.glsl"
uniform samplerBuffer Gradient;
uniform samplerBuffer Scale;
uniform samplerBuffer Rate;

// A scale that is no number says that the gradients are not to be trusted: nothing changes then.
bool trusted() { return !isnan(texelFetch(Scale, 0).x); }

vec4 gradient(int i) { return texelFetch(Scale, 0).x * texelFetch(Gradient, i); }
