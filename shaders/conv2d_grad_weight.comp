// Gradient of a convolution's kernel: dw[co, tap, c] = sum over positions p of dy[p, co] * x[p moved by the tap, c]. Rows are the
// group's channels of dy, columns its channels of x, the inner axis the positions; parts are the taps of each group.
// SINGLE reads channels one by one, else four at a time.
#include "tile.glsl"
uniform samplerBuffer X, DY;
uniform int pitch;
uniform int taps, kernelX;
uniform int pixelsX, widthX, heightX;         // of a picture of x
uniform int pixelsY, widthY;                  // of a picture of dy
uniform int strideY, strideX, dilationY, dilationX, top, before;
uniform int channelsX, channelsY, groupX, groupY; // texels (elements) of a position, and of a group, of x and of dy
uniform int inner;                            // positions of dy

int group_of_part() { return quotient(part, taps); }
int tap() { return part - group_of_part() * taps; }

bool segment_used(int segment) { return true; }
ivec4 left_segment(Lines l, int segment) { return l.a; }
ivec4 right_segment(Lines l, int segment) { return l.a; }

// Texel of x where the position for p begins, or -1.
int source(int p) {
    int picture = quotient(p, pixelsY), rest = p - picture * pixelsY, row = quotient(rest, widthY);
    int down = quotient(tap(), kernelX);
    int y = row * strideY - top + down * dilationY;
    int x = (rest - row * widthY) * strideX - before + (tap() - down * kernelX) * dilationX;
    return y < 0 || y >= heightX || x < 0 || x >= widthX ? -1 : (picture * pixelsX + y * widthX + x) * channelsX;
}

#ifdef SINGLE
Lines left_lines(int m) {
    Lines l;
    l.a = group_of_part() * groupY + min(m + ivec4(0, 1, 2, 3), ivec4(rows - 1));
    return l;
}

Lines right_lines(int n) {
    Lines l;
    l.a = group_of_part() * groupX + min(n + ivec4(0, 1, 2, 3), ivec4(columns - 1));
    return l;
}

mat4 left(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = min(4 * step + c, inner - 1) * channelsY;
        v[c] = vec4(texelFetch(DY, at.x + k).x, texelFetch(DY, at.y + k).x, texelFetch(DY, at.z + k).x, texelFetch(DY, at.w + k).x);
    }
    return v;
}

mat4 right(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = 4 * step + c < inner ? source(4 * step + c) : -1;
        v[c] = k < 0 ? vec4(0.0) : vec4(texelFetch(X, at.x + k).x, texelFetch(X, at.y + k).x, texelFetch(X, at.z + k).x, texelFetch(X, at.w + k).x);
    }
    return v;
}
#else
Lines left_lines(int m) {
    Lines l;
    l.a = ivec4(group_of_part() * groupY + min(m / 4, groupY - 1));
    return l;
}

Lines right_lines(int n) {
    Lines l;
    l.a = ivec4(group_of_part() * groupX + min(n / 4, groupX - 1));
    return l;
}

mat4 left(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        v[c] = texelFetch(DY, at.x + min(4 * step + c, inner - 1) * channelsY);
    }
    return v;
}

mat4 right(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = 4 * step + c < inner ? source(4 * step + c) : -1;
        v[c] = k < 0 ? vec4(0.0) : texelFetch(X, at.x + k);
    }
    return v;
}
#endif

int result_row(int m) { return ((group_of_part() * rows + m) * taps + tap()) * pitch; }
int bias_row(int m) { return 0; }
