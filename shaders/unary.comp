// y = F(x), element by element. F is a function of a vec4; a and b are the settings of the kinds that have them.
#include "elementwise.glsl"
#include "activation.glsl"
#include "slope.glsl"
uniform samplerBuffer X;
uniform float a;
uniform float b;

vec4 neg(vec4 x) { return -x; }
vec4 square(vec4 x) { return x * x; }
vec4 rsqrt(vec4 x) { return 1.0 / sqrt(x); }
vec4 reciprocal(vec4 x) { return 1.0 / x; }
vec4 affine(vec4 x) { return a * x + b; }
vec4 leaky_relu(vec4 x) { return mix(x, a * x, lessThan(x, vec4(0.0))); }

vec4 elu(vec4 x) {
    vec4 series = x * (1.0 + 0.5 * x * (1.0 + x / 3.0)); // where exp(x) - 1 loses its digits
    vec4 below = a * mix(exp(min(x, 0.0)) - 1.0, series, lessThan(abs(x), vec4(5e-3)));
    return mix(below, x, greaterThan(x, vec4(0.0)));
}
vec4 erf(vec4 x) { return one_plus_erf(x) - 1.0; }

vec4 clamp_range(vec4 x) { return mix(clamp(x, a, b), x, isnan(x)); }

// The angle is brought near zero in three steps of 2*pi, whose parts multiply exactly, as drivers may be coarse far from it.
vec4 reduced(vec4 x) {
    vec4 turns = round(x * 0.15915494309);
    return ((x - turns * 6.28125) - turns * 1.934051513671875e-3) - turns * 1.2556659146e-6;
}
vec4 sine(vec4 x) { return sin(reduced(x)); }
vec4 cosine(vec4 x) { return cos(reduced(x)); }

// log(1 + exp(x)) without overflow, and without loss where exp(-|x|) is small.
vec4 softplus(vec4 x) {
    vec4 e = exp(-abs(x));
    vec4 tail = mix(log(1.0 + e), e * (1.0 - 0.5 * e), lessThan(e, vec4(1e-3)));
    return mix(x, vec4(0.0), lessThan(x, vec4(0.0))) + tail;
}

vec4 step_of(vec4 x) { return relu_grad(x); }
vec4 sign_of(vec4 x) { return mix(step_of(x), vec4(-1.0), lessThan(x, vec4(0.0))); }
vec4 clamp_grad(vec4 x) { return vec4(1.0) - vec4(lessThan(x, vec4(a))) - vec4(greaterThan(x, vec4(b))); }

vec4 quad(int i) { return F(texelFetch(X, i)); }
