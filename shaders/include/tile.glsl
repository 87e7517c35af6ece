// The tile that products and convolutions share: result[m, n] = sum over k of left[m, k] * right[k, n], for several parts
// (batch items, groups, phases). An operation includes this file and defines the functions declared below.
//
// The inner axis runs in steps of 4, in segments (the taps of a kernel) of segmentSteps each. It can be split over workgroups.
// Rows of the result are whole texels. What does not end there (a split axis, an activation, columns that fill no texels)
// leaves partial sums for tile_sum.comp: in software drivers the code at the end of a tile takes longest to compile.
//
// TILE_DIRECT: an invocation keeps TILE_M x 16 results and fetches for itself. TILE_SHARED: 64 invocations keep 64 x 64, 8 x 8
// each, and stage 16 of the inner axis at a time in shared memory.
#include "grid.glsl"
#include "index.glsl"

uniform int rows, columns;       // of a part's result
uniform int parts;
uniform int steps, segmentSteps; // inner axis in all and of a segment, in steps of 4
uniform int splits, splitSteps;  // the inner axis goes to splits workgroups, splitSteps each
uniform int partial;             // texels of a split's partial sums
uniform int biasStep;            // 0: one bias [columns]; more: texels between the rows of a bias per picture; -1: none
uniform samplerBuffer Bias;
#ifdef RESIDUAL
uniform samplerBuffer Residual;
#endif
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };

int part; // index of this workgroup's part

// What an operation remembers of 4 rows of left or 4 columns of right.
struct Lines {
    ivec4 a, b, c;
};

Lines left_lines(int m);                  // rows m to m + 3, clamped
Lines right_lines(int n);                 // columns n to n + 3, clamped
bool segment_used(int segment);           // whether any product of the segment counts
ivec4 left_segment(Lines l, int segment); // where the segment begins
ivec4 right_segment(Lines l, int segment);
mat4 left(ivec4 at, int step);            // column c: the rows' values at inner index 4 * step + c of the segment
mat4 right(ivec4 at, int step);           // column c: the columns' values at that index
int result_row(int m);                    // texel of the result where row m begins; -1: not stored
int bias_row(int m);                      // texel of the bias where the row for m begins; the rows of a tile have one bias

vec4 bias_at(int m, int n) {
    return biasStep < 0 ? vec4(0.0) : texelFetch(Bias, bias_row(min(m, rows - 1)) + min(n, columns - 1) / 4);
}

void put(int base, int n, int split, vec4 v) {
    if (base >= 0 && n < columns) {
        int at = base + n / 4;
#ifdef RESIDUAL
        v += texelFetch(Residual, at);
#endif
        y[at + split * partial] = v;
    }
}

#ifdef TILE_DIRECT
layout(local_size_x = 8) in;
uniform int laneShift; // the 8 invocations are 8 >> laneShift tiles high and 1 << laneShift wide; -1: 8 tiles in a row, over the ends of columns and parts
const int BLOCKS = TILE_M / 4;

void main() {
    int shift = max(laneShift, 0), lane = int(gl_LocalInvocationID.x);
    int g = group_index(), row = lane >> shift, column = lane & ((1 << shift) - 1);
    int tall = 8 >> shift; // tiles
    if (laneShift < 0) {
        g = g * 8 + lane;
        row = 0;
        tall = 1;
    }
    int high = tall * TILE_M, wide = 16 << shift;
    int down = quotient(rows + high - 1, high), across = quotient(columns + wide - 1, wide);
    int z = quotient(g, down * across);
    if (z >= parts * splits) {
        return;
    }
    g -= z * down * across;
    part = quotient(z, splits);
    int split = z - part * splits;
    int panel = quotient(g, down); // neighbours share columns, that is weights
    int m0 = ((g - panel * down) * tall + row) * TILE_M;
    int n0 = ((panel << shift) + column) * 16;

    Lines l[BLOCKS], r[2][2];
    ivec4 atL[BLOCKS], atR[2][2];
    vec4 sum[BLOCKS][4][2][2];
    for (int p = 0; p < 2; p++) {
        for (int q = 0; q < 2; q++) {
            r[p][q] = right_lines(n0 + 8 * p + 4 * q);
            vec4 start = bias_at(m0, n0 + 8 * p + 4 * q);
            for (int i = 0; i < BLOCKS; i++) {
                for (int v = 0; v < 4; v++) {
                    sum[i][v][p][q] = start;
                }
            }
        }
    }
    for (int i = 0; i < BLOCKS; i++) {
        l[i] = left_lines(m0 + 4 * i);
    }
    int last = min((split + 1) * splitSteps, steps);
    for (int at = split * splitSteps; at < last;) {
        int segment = quotient(at, segmentSteps);
        int first = at - segment * segmentSteps;
        int end = min(segmentSteps, first + last - at);
        at += end - first;
        if (!segment_used(segment)) {
            end = first;
        }
        for (int i = 0; i < BLOCKS; i++) {
            atL[i] = left_segment(l[i], segment);
        }
        for (int p = 0; p < 2; p++) {
            for (int q = 0; q < 2; q++) {
                atR[p][q] = right_segment(r[p][q], segment);
            }
        }
        for (int step = first; step < end; step++) {
            mat4 b[2][2];
            for (int p = 0; p < 2; p++) {
                for (int q = 0; q < 2; q++) {
                    b[p][q] = right(atR[p][q], step);
                }
            }
            mat4 a[BLOCKS]; // fetched before anything is computed: software drivers call a function for each fetch
            for (int i = 0; i < BLOCKS; i++) {
                a[i] = left(atL[i], step);
            }
            for (int i = 0; i < BLOCKS; i++) {
                for (int p = 0; p < 2; p++) {
                    for (int q = 0; q < 2; q++) {
                        for (int c = 0; c < 4; c++) {
                            for (int v = 0; v < 4; v++) { // 4 x 4 results stay in registers for 4 steps
                                sum[i][v][p][q] += a[i][c][v] * b[p][q][c];
                            }
                        }
                    }
                }
            }
        }
    }
    for (int i = 0; i < BLOCKS; i++) {
        for (int v = 0; v < 4; v++) {
            int m = m0 + 4 * i + v;
            int base = m < rows ? result_row(m) : -1;
            for (int p = 0; p < 2; p++) {
                for (int q = 0; q < 2; q++) {
                    put(base, n0 + 8 * p + 4 * q, split, sum[i][v][p][q]);
                }
            }
        }
    }
}
#endif

#ifdef TILE_SHARED
layout(local_size_x = 64) in;
shared vec4 leftStage[16][17], rightStage[16][17]; // [inner index][4 rows or columns]; 17 spreads the banks

void main() {
    int down = (rows + 63) / 64, across = (columns + 63) / 64;
    int g = group_index();
    int z = g / (down * across);
    if (z >= parts * splits) {
        return;
    }
    g -= z * down * across;
    part = z / splits;
    int split = z - part * splits;
    int panel = g / down;
    int m0 = (g - panel * down) * 64, n0 = panel * 64;
    int id = int(gl_LocalInvocationID.x);
    int quad = id % 16, ahead = id / 16; // what this invocation stages
    int tx = id % 8, ty = id / 8;        // what it computes: rows 8 ty to 8 ty + 7, columns 4 tx and 32 + 4 tx

    Lines l = left_lines(m0 + 4 * quad), r = right_lines(n0 + 4 * quad);
    vec4 sum[8][2];
    for (int q = 0; q < 2; q++) {
        vec4 start = bias_at(m0 + 8 * ty, n0 + 32 * q + 4 * tx);
        for (int i = 0; i < 8; i++) {
            sum[i][q] = start;
        }
    }
    int last = min((split + 1) * splitSteps, steps);
    for (int at = split * splitSteps; at < last; at += 4) {
        int mine = at + ahead;
        mat4 a = mat4(0.0), b = mat4(0.0);
        if (mine < last) {
            int segment = mine / segmentSteps;
            int step = mine - segment * segmentSteps;
            if (segment_used(segment)) {
                a = left(left_segment(l, segment), step);
                b = right(right_segment(r, segment), step);
            }
        }
        barrier();
        for (int c = 0; c < 4; c++) {
            leftStage[4 * ahead + c][quad] = a[c];
            rightStage[4 * ahead + c][quad] = b[c];
        }
        memoryBarrierShared();
        barrier();
        for (int k = 0; k < 16; k++) {
            vec4 top = leftStage[k][2 * ty], bottom = leftStage[k][2 * ty + 1];
            vec4 near = rightStage[k][tx], far = rightStage[k][tx + 8];
            for (int i = 0; i < 4; i++) {
                sum[i][0] += top[i] * near;
                sum[i][1] += top[i] * far;
                sum[i + 4][0] += bottom[i] * near;
                sum[i + 4][1] += bottom[i] * far;
            }
        }
    }
    for (int i = 0; i < 8; i++) {
        int m = m0 + 8 * ty + i;
        int base = m < rows ? result_row(m) : -1;
        for (int q = 0; q < 2; q++) {
            put(base, n0 + 32 * q + 4 * tx, split, sum[i][q]);
        }
    }
}
#endif

// Four rows of 4 values as columns of values at one inner index.
mat4 across(vec4 v0, vec4 v1, vec4 v2, vec4 v3) {
    return transpose(mat4(v0, v1, v2, v3));
}
