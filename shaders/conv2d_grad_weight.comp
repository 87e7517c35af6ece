// Gradient of a convolution's kernel: dw[co, tap, c] = sum over positions p of dy[p, co] * x[p moved by the tap, c]. Rows are the
// group's channels of dy, columns its channels of x, the inner axis the positions, a segment for each line of them; parts are the
// taps of each group.
// SINGLE reads channels one by one, else four at a time.
#include "tile.glsl"
uniform samplerBuffer X, DY;
uniform int pitch;
uniform int taps, kernelX;
uniform int widthX, heightX;                  // of a picture of x
uniform int widthY, heightY;                  // of a picture of dy
uniform int strideY, strideX, dilationY, dilationX, top, before;
uniform int channelsX, channelsY, groupX, groupY; // texels (elements) of a position, and of a group, of x and of dy

int group_of_part() { return quotient(part, taps); }
int tap() { return part - group_of_part() * taps; }

// The line of x that the tap sees from a line of dy, in lines from the first picture's top, or -1.
int line_of(int segment) {
    int picture = quotient(segment, heightY), down = quotient(tap(), kernelX);
    int y = (segment - picture * heightY) * strideY - top + down * dilationY;
    return y < 0 || y >= heightX ? -1 : picture * heightX + y;
}

// Where position k of a line of dy sees x, in texels from the line's beginning, or -1.
int column_of(int k) {
    int over = tap() - quotient(tap(), kernelX) * kernelX;
    int x = k * strideX - before + over * dilationX;
    return k >= widthY || x < 0 || x >= widthX ? -1 : x * channelsX;
}

bool segment_used(int segment) { return line_of(segment) >= 0; }
ivec4 left_segment(Lines l, int segment) { return l.a + segment * widthY * channelsY; }
ivec4 right_segment(Lines l, int segment) { return l.a + max(line_of(segment), 0) * widthX * channelsX; }

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
        int k = min(4 * step + c, widthY - 1) * channelsY;
        v[c] = vec4(texelFetch(DY, at.x + k).x, texelFetch(DY, at.y + k).x, texelFetch(DY, at.z + k).x, texelFetch(DY, at.w + k).x);
    }
    return v;
}

mat4 right(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = column_of(4 * step + c);
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
        v[c] = texelFetch(DY, at.x + min(4 * step + c, widthY - 1) * channelsY);
    }
    return v;
}

mat4 right(ivec4 at, int step) {
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = column_of(4 * step + c);
        vec4 seen = texelFetch(X, at.x + max(k, 0)); // always: software drivers branch round a fetch that is conditional
        v[c] = k < 0 ? vec4(0.0) : seen;
    }
    return v;
}
#endif

int result_row(int m) { return ((group_of_part() * rows + m) * taps + tap()) * pitch; }
int bias_row(int m) { return 0; }
