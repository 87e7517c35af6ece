// y [B to_v to_h columns] from x [B from_v from_h columns], nearest or bilinear; columns counts texels with QUAD.
#include "elementwise.glsl"
#include "resize.glsl"
uniform samplerBuffer X;

vec4 sampled(int i) {
    int pixel = quotient(i, columns);
    int row = quotient(pixel, to_h);
    int image = quotient(row, to_v);
    int c = i - pixel * columns;
    Source h = source_of(pixel - row * to_h, from_h, scale_h, offset_h);
    Source v = source_of(row - image * to_v, from_v, scale_v, offset_v);
    int top = (image * from_v + v.x) * from_h;
    vec4 a = texelFetch(X, (top + h.x) * columns + c);
#ifdef NEAREST
    return a;
#else
    int bottom = (image * from_v + v.y) * from_h;
    vec4 b = texelFetch(X, (top + h.y) * columns + c);
    vec4 d = texelFetch(X, (bottom + h.x) * columns + c);
    vec4 e = texelFetch(X, (bottom + h.y) * columns + c);
    return (a * (1.0 - h.w) + b * h.w) * (1.0 - v.w) + (d * (1.0 - h.w) + e * h.w) * v.w;
#endif
}

#ifdef QUAD
vec4 quad(int i) { return sampled(i); }
#else
float element(int i) { return i < 4 * texels ? sampled(i).x : 0.0; }
#endif
