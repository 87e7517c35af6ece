// Derivatives of the activations by compute.Act's names. Include activation.glsl before it.

vec4 none_grad(vec4 x) { return vec4(1.0); }
vec4 relu_grad(vec4 x) { return mix(x * 0.0, vec4(1.0), greaterThan(x, vec4(0.0))); }
vec4 sigmoid_grad(vec4 x) {
    vec4 s = act_sigmoid(x);
    return s * (1.0 - s);
}
vec4 tanh_grad(vec4 x) {
    vec4 t = act_tanh(x);
    return 1.0 - t * t;
}

// Derivative of x * sigmoid(k * x).
vec4 swish_grad(vec4 x, float k) {
    vec4 s = act_sigmoid(k * x);
    return s + k * x * s * (1.0 - s);
}
vec4 silu_grad(vec4 x) { return swish_grad(x, 1.0); }
vec4 quick_gelu_grad(vec4 x) { return swish_grad(x, 1.702); }

vec4 gelu_grad(vec4 x) {
    vec4 cdf = mix(act_gelu(x) / x, vec4(0.5), lessThan(abs(x), vec4(1e-6)));
    return cdf + x * exp(-0.5 * x * x) * 0.3989422804;
}
vec4 gelu_tanh_grad(vec4 x) {
    vec4 t = act_tanh(0.7978845608 * (x + 0.044715 * x * x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.7978845608 * (1.0 + 0.134145 * x * x);
}
