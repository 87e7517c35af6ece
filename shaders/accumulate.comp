// v = keep * v + add * x. Where keep is 0 v does not matter, not even if it is NaN.
#include "update.glsl"
layout(std430, binding = 0) buffer V0 { vec4 v[]; };
uniform samplerBuffer X;
uniform samplerBuffer Coefficients; // keep, add

void update(int i) {
    vec4 c = texelFetch(Coefficients, 0);
    vec4 more = c.y * texelFetch(X, i);
    v[i] = c.x == 0.0 ? more : c.x * v[i] + more;
}
