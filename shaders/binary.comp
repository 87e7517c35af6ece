// y = F of a and b with broadcasting: RANK merged axes, extents d0 ... from the innermost out, along which A steps by s and B by
// t elements (0 where they repeat). RANK 0: both are read straight through. With QUAD an innermost step is 0 or 1.
#include "elementwise.glsl"
uniform samplerBuffer A;
uniform samplerBuffer B;

vec4 smaller(vec4 a, vec4 b) {
    vec4 m = mix(a, b, lessThan(b, a));
    return mix(m, b, isnan(b));
}
vec4 larger(vec4 a, vec4 b) {
    vec4 m = mix(a, b, lessThan(a, b));
    return mix(m, b, isnan(b));
}
vec4 prelu(vec4 a, vec4 b) { return mix(a, a * b, lessThan(a, vec4(0.0))); }

// By their bits, since drivers may compute 1.0 / 0.0 and sqrt(-1.0) as they like.
float infinity() { return uintBitsToFloat(0x7f800000u); }
float not_a_number() { return uintBitsToFloat(0x7fc00000u); }

// a to the power b, where GLSL leaves negative a undefined: the sign is that of a whole odd b, and other b give NaN.
float power1(float a, float b) {
    if (b == 0.0 || a == 1.0) {
        return 1.0;
    }
    float p = a == 0.0 ? (b > 0.0 ? 0.0 : infinity()) : exp2(b * log2(abs(a)));
    if (a < 0.0) {
        p = b != floor(b) ? not_a_number() : (mod(b, 2.0) == 1.0 ? -p : p);
    }
    return isnan(a) || isnan(b) ? a + b : p;
}
vec4 power(vec4 a, vec4 b) { return vec4(power1(a.x, b.x), power1(a.y, b.y), power1(a.z, b.z), power1(a.w, b.w)); }

#if RANK > 0
uniform int d0, s0, t0;
#endif
#if RANK > 1
uniform int d1, s1, t1;
#endif
#if RANK > 2
uniform int d2, s2, t2;
#endif
#if RANK > 3
uniform int d3, s3, t3, d4, s4, t4, d5, s5, t5;
#endif

// The elements of A and B for result element i.
ivec2 offsets(int i) {
    ivec2 at = ivec2(0);
    int q;
#define AXIS(d, s, t) q = quotient(i, d); at += (i - q * d) * ivec2(s, t); i = q;
#if RANK > 1
    AXIS(d0, s0, t0)
#endif
#if RANK > 2
    AXIS(d1, s1, t1)
#endif
#if RANK > 3
    AXIS(d2, s2, t2)
    AXIS(d3, s3, t3)
    AXIS(d4, s4, t4)
#endif
    // what is left is the position on the outermost axis
#if RANK == 1
    at += i * ivec2(s0, t0);
#elif RANK == 2
    at += i * ivec2(s1, t1);
#elif RANK == 3
    at += i * ivec2(s2, t2);
#elif RANK > 3
    at += i * ivec2(s5, t5);
#endif
    return at;
}

#if RANK == 0
vec4 quad(int i) {
    vec4 a = texelFetch(A, i), b = texelFetch(B, i);
    return F;
}
#elif defined(QUAD)
vec4 quad(int i) {
    ivec2 at = offsets(4 * i);
    vec4 a = texelFetch(A, at.x >> 2), b = texelFetch(B, at.y >> 2);
    if (s0 == 0) {
        a = vec4(a[at.x & 3]);
    }
    if (t0 == 0) {
        b = vec4(b[at.y & 3]);
    }
    return F;
}
#else
float element(int i) {
    ivec2 at = offsets(i);
    vec4 a = vec4(texelFetch(A, at.x).x), b = vec4(texelFetch(B, at.y).x);
    return (F).x;
}
#endif
