// Convolution as a product: rows are the positions of the result, columns its channels, segments the taps of the kernel, the
// inner axis the channels of a tap. x [B H W Ci] and w [Co Kh Kw C], C channels in each group, are read four channels at a time,
// or with SINGLE one by one. Parts are the groups of each picture, or of all pictures together.
#include "tile.glsl"
uniform samplerBuffer X, W;
uniform int pitch, groupPitch;      // texels of the result between positions and between groups
uniform int groups;
uniform int pixelsX, widthX, heightX; // of a picture of x
uniform int widthY, pixelsY;          // of a picture of the result
uniform int strideY, strideX, dilationY, dilationX, top, before, kernelX;
uniform int channelsX;              // texels (elements) of a position of x
uniform int channels, lineW;        // of a group; of all taps of a kernel
uniform int inner;                  // elements of a group
uniform int pictured;               // 1: each part is one picture

// Position m of the part, counted over all pictures.
int position(int m) {
    return pictured * quotient(part, groups) * pixelsY + m;
}

int group_of_part() { return part - quotient(part, groups) * groups; }

// a: where the pictures begin in x, as a position; b and c: the kernel's top left corner.
Lines left_lines(int m) {
    Lines l;
    for (int i = 0; i < 4; i++) {
        int p = position(min(m + i, rows - 1));
        int picture = quotient(p, pixelsY);
        p -= picture * pixelsY;
        int row = quotient(p, widthY);
        l.a[i] = picture * pixelsX;
        l.b[i] = row * strideY - top;
        l.c[i] = (p - row * widthY) * strideX - before;
    }
    return l;
}

Lines right_lines(int n) {
    Lines l;
    l.a = (group_of_part() * columns + min(n + ivec4(0, 1, 2, 3), ivec4(columns - 1))) * lineW;
    return l;
}

bool segment_used(int segment) { return true; }

ivec4 left_segment(Lines l, int segment) {
    int down = quotient(segment, kernelX);
    ivec4 row = l.b + down * dilationY, column = l.c + (segment - down * kernelX) * dilationX;
    ivec4 at = (l.a + row * widthX + column) * channelsX + group_of_part() * channels;
    for (int i = 0; i < 4; i++) {
        if (row[i] < 0 || row[i] >= heightX || column[i] < 0 || column[i] >= widthX) {
            at[i] = -1;
        }
    }
    return at;
}

ivec4 right_segment(Lines l, int segment) { return l.a + segment * channels; }

#ifdef SINGLE
float one(int at, int k) { return at < 0 || k >= inner ? 0.0 : texelFetch(X, at + k).x; }

mat4 left(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = 4 * step + c;
        v[c] = vec4(one(at.x, k), one(at.y, k), one(at.z, k), one(at.w, k));
    }
    return v;
}

mat4 right(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = min(4 * step + c, inner - 1);
        v[c] = vec4(texelFetch(W, at.x + k).x, texelFetch(W, at.y + k).x, texelFetch(W, at.z + k).x, texelFetch(W, at.w + k).x);
    }
    return v;
}
#else
vec4 four(int at, int step) { return at < 0 ? vec4(0.0) : texelFetch(X, at + step); }

mat4 left(ivec4 at, int step) {
    return across(four(at.x, step), four(at.y, step), four(at.z, step), four(at.w, step));
}

mat4 right(ivec4 at, int step) {
    return across(texelFetch(W, at.x + step), texelFetch(W, at.y + step), texelFetch(W, at.z + step), texelFetch(W, at.w + step));
}
#endif

int result_row(int m) { return position(m) * pitch + group_of_part() * groupPitch; }

int bias_row(int m) {
    return group_of_part() * (columns / 4) + (biasStep > 0 ? quotient(position(m), pixelsY) * biasStep : 0);
}
