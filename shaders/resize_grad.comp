// dx [B from_v from_h columns]: each pixel collects dy [B to_v to_h columns], here X, by the weights that resize.comp gave it.
#include "elementwise.glsl"
#include "resize.glsl"
uniform samplerBuffer X;

// Result pixels that pixel p can be part of, generously: weights decide.
ivec2 reach(int p, int from, int to, float scale, float offset) {
    if (scale == 0.0) {
        return ivec2(0, to);
    }
    int first = p == 0 ? 0 : int((float(p) - 1.0 - offset) / scale) - 1;
    int end = p == from - 1 ? to : int((float(p) + 1.0 - offset) / scale) + 2;
    return ivec2(max(first, 0), min(end, to));
}

float weight(Source s, int p) { return (s.x == p ? 1.0 - s.w : 0.0) + (s.y == p ? s.w : 0.0); }

vec4 collected(int i) {
    int pixel = quotient(i, columns);
    int row = quotient(pixel, from_h);
    int image = quotient(row, from_v);
    int px = pixel - row * from_h, py = row - image * from_v, c = i - pixel * columns;
    ivec2 v = reach(py, from_v, to_v, scale_v, offset_v), h = reach(px, from_h, to_h, scale_h, offset_h);
    vec4 sum = vec4(0.0);
    for (int y = v.x; y < v.y; y++) {
        float wy = weight(source_of(y, from_v, scale_v, offset_v), py);
        if (wy != 0.0) {
            for (int x = h.x; x < h.y; x++) {
                float w = wy * weight(source_of(x, from_h, scale_h, offset_h), px);
                if (w != 0.0) {
                    sum += w * texelFetch(X, ((image * to_v + y) * to_h + x) * columns + c);
                }
            }
        }
    }
    return sum;
}

#ifdef QUAD
vec4 quad(int i) { return collected(i); }
#else
float element(int i) { return collected(i).x; }
#endif
