// Transposed convolution, gathered: a position of the result takes from x those positions whose multiple of the stride, moved by
// a tap, lands on it. Positions with the same remainder by the stride (a phase) use the same taps, so each phase is a part:
// its rows are the result's positions of that phase, and the taps that it does not use are skipped.
// Kernels w [Co Kh Kw C] with C = Ci / groups; SINGLE reads channels one by one, else four at a time.
#include "tile.glsl"
uniform samplerBuffer X, W;
uniform int pitch, groupPitch;          // texels of the result between positions and between groups
uniform int groups;
uniform int pixelsX, widthX, heightX;   // of a picture of x
uniform int pixelsY, widthY, heightY;   // of a picture of the result
uniform int phasePixels, phaseWidth;    // of a phase of a picture, rounded up
uniform int strideY, strideX, dilationY, dilationX, top, before, kernelX;
uniform int channelsX, channels, lineW; // texels (elements): of a position of x, of a group, of all taps of a kernel
uniform int inner;                      // elements of a group

// This part's group and phase.
int group_of_part() { return part - quotient(part, groups) * groups; }

ivec2 phase() { // column, row
    int p = quotient(part, groups), row = quotient(p, strideX);
    return ivec2(p - row * strideX, row);
}

// How far a tap moves a phase, in steps of the stride: exact where segment_used says so.
ivec2 shift(int segment) {
    int down = quotient(segment, kernelX);
    return phase() + ivec2(before, top) - ivec2(segment - down * kernelX, down) * ivec2(dilationX, dilationY);
}

// Row m as picture, row and column of the phase.
ivec3 place(int m) {
    int picture = quotient(m, phasePixels), p = m - picture * phasePixels, row = quotient(p, phaseWidth);
    return ivec3(picture, row, p - row * phaseWidth);
}

Lines left_lines(int m) {
    Lines l;
    for (int i = 0; i < 4; i++) {
        ivec3 p = place(min(m + i, rows - 1));
        l.a[i] = p.x * pixelsX;
        l.b[i] = p.y;
        l.c[i] = p.z;
    }
    return l;
}

Lines right_lines(int n) {
    Lines l;
    l.a = (group_of_part() * columns + min(n + ivec4(0, 1, 2, 3), ivec4(columns - 1))) * lineW;
    return l;
}

bool segment_used(int segment) {
    ivec2 s = abs(shift(segment));
    return s.x - quotient(s.x, strideX) * strideX == 0 && s.y - quotient(s.y, strideY) * strideY == 0;
}

ivec4 left_segment(Lines l, int segment) {
    ivec2 s = shift(segment);
    ivec2 steps = ivec2(quotient(abs(s.x), strideX), quotient(abs(s.y), strideY)) * sign(s);
    ivec4 row = l.b + steps.y, column = l.c + steps.x;
    ivec4 at = (l.a + row * widthX + column) * channelsX + group_of_part() * channels;
    for (int i = 0; i < 4; i++) {
        if (row[i] < 0 || row[i] >= heightX || column[i] < 0 || column[i] >= widthX) {
            at[i] = -1;
        }
    }
    return at;
}

ivec4 right_segment(Lines l, int segment) { return l.a + segment * channels; }

#include "channels.glsl"

int result_row(int m) {
    ivec3 p = place(m);
    ivec2 at = ivec2(p.z, p.y) * ivec2(strideX, strideY) + phase();
    return at.x < widthY && at.y < heightY ? (p.x * pixelsY + at.y * widthY + at.x) * pitch + group_of_part() * groupPitch : -1;
}

int bias_row(int m) { return group_of_part() * (columns / 4); }
