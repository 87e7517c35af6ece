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

#include "channels.glsl"

int result_row(int m) { return position(m) * pitch + group_of_part() * groupPitch; }

int bias_row(int m) {
    return group_of_part() * (columns / 4) + (biasStep > 0 ? quotient(position(m), pixelsY) * biasStep : 0);
}
