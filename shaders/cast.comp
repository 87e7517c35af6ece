// y = x in another storage type. With HALF, elements round to the nearest half, ties to even, in integer arithmetic: drivers
// differ in how packHalf2x16 rounds. Otherwise the texture has widened them already.
#include "grid.glsl"
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform int texels;

#ifdef HALF
layout(std430, binding = 0) writeonly buffer Y0 { uvec2 y[]; };

uint half_bits(float f) {
    uint b = floatBitsToUint(f);
    uint sign = (b >> 16) & 0x8000u;
    uint magnitude = b & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (magnitude >= 0x477ff000u) { // rounds to 65536 or more
        return sign | 0x7c00u;
    }
    if (magnitude < 0x38800000u) { // below 2^-14: a multiple of 2^-24
        float scaled = uintBitsToFloat(magnitude) * 16777216.0;
        return sign | uint(roundEven(scaled));
    }
    // the odd bit that is kept breaks ties; a carry into the exponent is the right answer
    return sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13);
}

uvec2 stored(vec4 x) {
    return uvec2(half_bits(x.x) | half_bits(x.y) << 16, half_bits(x.z) | half_bits(x.w) << 16);
}
#else
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
vec4 stored(vec4 x) { return x; }
#endif

void main() {
    int first = group_index() * 256 + int(gl_LocalInvocationID.x);
    for (int i = first; i < min(first + 256, texels); i += 64) {
        y[i] = stored(texelFetch(X, i));
    }
}
