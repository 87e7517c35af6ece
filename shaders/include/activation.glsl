// Activations by compute.Act's names, for a float and for a vec4. NaN stays NaN, which compilers
// spoil in comparisons: they take x < 0 ? 0 : x for a maximum, and a maximum may drop it.

float act_none(float x) { return x; }
vec4 act_none(vec4 x) { return x; }

float act_relu(float x) { return isnan(x) ? x : max(x, 0.0); }
vec4 act_relu(vec4 x) { return mix(max(x, 0.0), x, isnan(x)); }

float act_sigmoid(float x) { return 1.0 / (1.0 + exp(-x)); }
vec4 act_sigmoid(vec4 x) { return 1.0 / (1.0 + exp(-x)); }

float act_silu(float x) { return x / (1.0 + exp(-x)); }
vec4 act_silu(vec4 x) { return x / (1.0 + exp(-x)); }

float act_quick_gelu(float x) { return x / (1.0 + exp(-1.702 * x)); }
vec4 act_quick_gelu(vec4 x) { return x / (1.0 + exp(-1.702 * x)); }

// Drivers limit tanh's argument, and then lose NaN.
float act_tanh(float x) { return isnan(x) ? x : tanh(x); }
vec4 act_tanh(vec4 x) { return mix(tanh(x), x, isnan(x)); }

// 1 + erf(x), the error function by Abramowitz and Stegun 7.1.26, within 1.5e-7.
vec4 one_plus_erf(vec4 x) {
    vec4 t = 1.0 / (1.0 + 0.3275911 * abs(x));
    vec4 p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    vec4 tail = p * exp(-x * x);
    return mix(2.0 - tail, tail, lessThan(x, vec4(0.0)));
}

vec4 act_gelu(vec4 x) { return 0.5 * x * one_plus_erf(x * 0.70710678118); }
float act_gelu(float x) { return act_gelu(vec4(x)).x; }

vec4 act_gelu_tanh(vec4 x) { return 0.5 * x * (1.0 + act_tanh(0.7978845608 * (x + 0.044715 * x * x * x))); }
float act_gelu_tanh(float x) { return 0.5 * x * (1.0 + act_tanh(0.7978845608 * (x + 0.044715 * x * x * x))); }
