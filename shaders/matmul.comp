// Products of matrices, each operand with its inner axis last or first (A_TURNED, B_TURNED), read four at a time or, with
// A_SINGLE or B_SINGLE, one by one. With B_BLOCKS, B is block-quantised and decoded here.
#include "tile.glsl"
uniform samplerBuffer A;
#ifdef B_BLOCKS
uniform usamplerBuffer B;
#include "blocks.glsl"
vec4 right_quad(int at) { return block_quad(at); }
#else
uniform samplerBuffer B;
vec4 right_quad(int at) { return texelFetch(B, at); }
#endif
uniform int inner;                  // elements of the inner axis
uniform int pitch;                  // texels between rows of the result
uniform int aLine, aStep, aMatrix;  // texels (elements) between rows of A, between inner indices, and of a whole matrix
uniform int bLine, bStep, bMatrix;  // the same for columns of B
uniform int batch0, batch1;         // extents of the two innermost batch axes
uniform int a0, a1, a2, b0, b1, b2; // matrices between neighbours along each batch axis

int batch_matrix(int s0, int s1, int s2) {
    int outer = quotient(part, batch0), outest = quotient(outer, batch1);
    return (part - outer * batch0) * s0 + (outer - outest * batch1) * s1 + outest * s2;
}

// Lines of an operand read four at a time across its lines (turned) share a texel and an offset.
Lines lines(int first, int count, int matrix, int line, bool quads) {
    Lines l;
    if (quads) {
        l.a = ivec4(matrix + min(first / 4, count / 4 - 1));
    } else {
        l.a = matrix + min(first + ivec4(0, 1, 2, 3), ivec4(count - 1)) * line;
    }
    return l;
}

Lines left_lines(int m) {
#if defined(A_TURNED) && !defined(A_SINGLE)
    const bool quads = true;
#else
    const bool quads = false;
#endif
    return lines(m, rows, batch_matrix(a0, a1, a2) * aMatrix, aLine, quads);
}

Lines right_lines(int n) {
#if defined(B_TURNED) && !defined(B_SINGLE)
    const bool quads = true;
#else
    const bool quads = false;
#endif
    return lines(n, columns, batch_matrix(b0, b1, b2) * bMatrix, bLine, quads);
}

bool segment_used(int segment) { return true; }
ivec4 left_segment(Lines l, int segment) { return l.a; }
ivec4 right_segment(Lines l, int segment) { return l.a; }

mat4 left(ivec4 at, int step) {
#if defined(A_SINGLE) || defined(A_TURNED)
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = min(4 * step + c, inner - 1) * aStep;
#ifdef A_SINGLE
        v[c] = vec4(texelFetch(A, at.x + k).x, texelFetch(A, at.y + k).x, texelFetch(A, at.z + k).x, texelFetch(A, at.w + k).x);
#else
        v[c] = texelFetch(A, at.x + k);
#endif
        if (4 * step + c >= inner) {
            v[c] = vec4(0.0);
        }
    }
    return v;
#else
    return across(texelFetch(A, at.x + step), texelFetch(A, at.y + step), texelFetch(A, at.z + step), texelFetch(A, at.w + step));
#endif
}

mat4 right(ivec4 at, int step) {
#if defined(B_SINGLE) || defined(B_TURNED)
    mat4 v;
    for (int c = 0; c < 4; c++) {
        int k = min(4 * step + c, inner - 1) * bStep;
#ifdef B_SINGLE
        v[c] = vec4(texelFetch(B, at.x + k).x, texelFetch(B, at.y + k).x, texelFetch(B, at.z + k).x, texelFetch(B, at.w + k).x);
#else
        v[c] = right_quad(at.x + k);
#endif
    }
    return v;
#else
    return across(right_quad(at.x + step), right_quad(at.y + step), right_quad(at.z + step), right_quad(at.w + step));
#endif
}

int result_row(int m) { return (part * rows + m) * pitch; }
int bias_row(int m) { return 0; }
