// Gradients of attention, never holding the scores (the recomputation of Dao et al. 2022, algorithm 4, in two launches). With
// P = softmax(scale·q·kᵀ + mask), dP = dy·vᵀ and dS = P∘(dP − D) where D = rowsum(P∘dP):
// for queries: dq = scale·dS·k by a running softmax, and each query's log-sum-exp of scores and D, which the second launch reads;
// KEY_SIDE, for keys: dk = scale·dSᵀ·q and dv = Pᵀ·dy.
// Both hold two vectors of ROWS lines of their own and go over the two of all lines of the other side, four at a time.
// TILE_DIRECT: an invocation fetches those itself. TILE_SHARED: a workgroup of 64 stages LINES of them in shared memory.
#include "index.glsl"
#ifdef TILE_SHARED
#define ROWS 1
#define BLOCK 64
layout(local_size_x = 64) in;
shared vec4 nearTile[LINES * QUADS];
shared vec4 farTile[LINES * QUADS];
#else
#define BLOCK ROWS
layout(local_size_x = 8) in;
#endif
#include "grid.glsl"
uniform samplerBuffer Q, K, V, Dy;
uniform int queries, keys, heads, keyHeads;
uniform int batch, causal;
uniform int firstQ, firstK, firstV; // where the gradients begin in y, in texels
uniform float scale;
#ifdef MASK
uniform samplerBuffer Mask;
uniform int maskB, maskH, maskQ, maskK; // elements between neighbours along the mask's axes
#endif
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
#ifdef KEY_SIDE
#define OWN_NEAR K
#define OWN_FAR V
#define NEAR Q
#define FAR Dy
uniform samplerBuffer Rows; // of each query and head: log-sum-exp and D
#else
#define OWN_NEAR Q
#define OWN_FAR Dy
#define NEAR K
#define FAR V
layout(std430, binding = 1) writeonly buffer Y1 { float of_rows[]; };
#endif

const float LOW = -3.0e38; // scores of hidden keys; finite, because Inf − Inf is NaN

int query_row(int image, int query, int head) { return (image * queries + query) * heads + head; }
int key_row(int image, int key, int head) { return (image * keys + key) * keyHeads + head; }

int visible(int query) {
    return causal > 0 ? clamp(query + keys - queries + 1, 0, keys) : keys;
}

// The score of a query and a key from their product; LOW where the key is hidden.
float score(float product, int image, int head, int query, int key) {
    float s = product * scale;
#ifdef MASK
    s += texelFetch(Mask, image * maskB + head * maskH + min(query, queries - 1) * maskQ + min(key, keys - 1) * maskK).x;
#endif
    bool sees = query < queries && key < visible(query);
    return sees && (s > LOW || isnan(s)) ? s : LOW;
}

void main() {
#ifdef KEY_SIDE
    int mine = keys, theirs = queries, own_heads = keyHeads, share = heads / keyHeads;
#else
    int mine = queries, theirs = keys, own_heads = heads, share = 1;
#endif
    int blocks = (mine + BLOCK - 1) / BLOCK; // of each head
    int count = batch * own_heads * blocks;
#ifdef TILE_SHARED
    int id = group_index();
    bool working = id < count; // idle workgroups still meet the barriers
    id = min(id, count - 1);
#else
    int id = invocation_index();
    if (id >= count) {
        return;
    }
#endif
    int matrix = quotient(id, blocks);
    int image = quotient(matrix, own_heads);
    int head = matrix - image * own_heads;
    int block = (id - matrix * blocks) * BLOCK, first = block, end = theirs, begin = 0;
#ifdef TILE_SHARED
    first += int(gl_LocalInvocationID.x);
#endif
    if (causal > 0) {
#ifdef KEY_SIDE
        begin = clamp(block - (keys - queries), 0, queries) / 4 * 4; // earlier queries see none of the block's keys
#else
        end = visible(min(block + BLOCK - 1, queries - 1));
#endif
    }
    vec4 near[ROWS][QUADS], far[ROWS][QUADS], sumNear[ROWS][QUADS], sumFar[ROWS][QUADS];
    for (int r = 0; r < ROWS; r++) {
#ifdef KEY_SIDE
        int at = key_row(image, min(first + r, keys - 1), head) * QUADS;
#else
        int at = query_row(image, min(first + r, queries - 1), head) * QUADS;
#endif
        for (int d = 0; d < QUADS; d++) {
            near[r][d] = texelFetch(OWN_NEAR, at + d);
            far[r][d] = texelFetch(OWN_FAR, at + d);
            sumNear[r][d] = vec4(0.0);
            sumFar[r][d] = vec4(0.0);
        }
    }
#ifndef KEY_SIDE
    // dP is summed as its distance from that of the first key, so that a large mean costs no digits.
    float top[ROWS], total[ROWS], product[ROWS], origin[ROWS];
    int keyHead = quotient(head, heads / keyHeads);
    int firstKey = key_row(image, 0, keyHead) * QUADS;
    for (int r = 0; r < ROWS; r++) {
        top[r] = LOW;
        total[r] = 0.0;
        product[r] = 0.0;
        origin[r] = 0.0;
        for (int d = 0; d < QUADS; d++) {
            origin[r] += dot(far[r][d], texelFetch(V, firstKey + d));
        }
    }
#endif
    for (int other = 0; other < share; other++) {
#ifdef KEY_SIDE
        int queryHead = head * share + other;
        int base = query_row(image, 0, queryHead) * QUADS, pitch = heads * QUADS;
#else
        int base = firstKey, pitch = keyHeads * QUADS;
#endif
#ifdef TILE_SHARED
        for (int tile = begin; tile < end; tile += LINES) {
            memoryBarrierShared();
            barrier();
            for (int i = int(gl_LocalInvocationID.x); i < LINES * QUADS; i += 64) {
                int at = base + min(tile + i / QUADS, theirs - 1) * pitch + i % QUADS;
                nearTile[i] = texelFetch(NEAR, at);
                farTile[i] = texelFetch(FAR, at);
            }
            memoryBarrierShared();
            barrier();
            for (int line = tile; line < min(tile + LINES, end); line += 4) {
                int at = (line - tile) * QUADS;
#define NEAR_AT(j, d) nearTile[at + (j) * QUADS + (d)]
#define FAR_AT(j, d) farTile[at + (j) * QUADS + (d)]
#else
        {
            for (int line = begin; line < end; line += 4) {
                ivec4 at = ivec4(base) + min(ivec4(line) + ivec4(0, 1, 2, 3), ivec4(theirs - 1)) * pitch;
#define NEAR_AT(j, d) texelFetch(NEAR, at[j] + (d))
#define FAR_AT(j, d) texelFetch(FAR, at[j] + (d))
#endif
                vec4 s[ROWS], p[ROWS];
                for (int r = 0; r < ROWS; r++) {
                    s[r] = vec4(0.0);
                    p[r] = vec4(0.0);
                }
                for (int d = 0; d < QUADS; d++) {
                    vec4 n0 = NEAR_AT(0, d), n1 = NEAR_AT(1, d), n2 = NEAR_AT(2, d), n3 = NEAR_AT(3, d);
                    vec4 f0 = FAR_AT(0, d), f1 = FAR_AT(1, d), f2 = FAR_AT(2, d), f3 = FAR_AT(3, d);
                    for (int r = 0; r < ROWS; r++) {
                        s[r] += vec4(dot(near[r][d], n0), dot(near[r][d], n1), dot(near[r][d], n2), dot(near[r][d], n3));
                        p[r] += vec4(dot(far[r][d], f0), dot(far[r][d], f1), dot(far[r][d], f2), dot(far[r][d], f3));
                    }
                }
#ifdef KEY_SIDE
                vec4 sums, means;
                for (int j = 0; j < 4; j++) {
                    int row = 2 * query_row(image, min(line + j, queries - 1), queryHead);
                    sums[j] = texelFetch(Rows, row).x;
                    means[j] = texelFetch(Rows, row + 1).x;
                }
                for (int r = 0; r < ROWS; r++) {
                    vec4 v;
                    for (int j = 0; j < 4; j++) {
                        v[j] = score(s[r][j], image, queryHead, line + j, first + r);
                    }
                    vec4 weight = mix(exp(v - sums), vec4(0.0), lessThanEqual(v, vec4(LOW)));
                    s[r] = weight * (p[r] - means) * scale;
                    p[r] = weight;
                }
#define FADE(r)
#define SECOND_AT FAR_AT
#else
                float fade[ROWS]; // of what was summed under an older, smaller maximum
                for (int r = 0; r < ROWS; r++) {
                    vec4 v;
                    for (int j = 0; j < 4; j++) {
                        v[j] = score(s[r][j], image, head, first + r, line + j);
                    }
                    float next = max(max(max(v.x, v.y), max(v.z, v.w)), top[r]);
                    fade[r] = exp(top[r] - next);
                    vec4 weight = mix(exp(v - next), vec4(0.0), lessThanEqual(v, vec4(LOW)));
                    s[r] = weight * (p[r] - origin[r]);
                    p[r] = weight;
                    total[r] = total[r] * fade[r] + dot(weight, vec4(1.0));
                    product[r] = product[r] * fade[r] + dot(s[r], vec4(1.0));
                    top[r] = next;
                }
#define FADE(r) * fade[r]
#define SECOND_AT NEAR_AT
#endif
                for (int d = 0; d < QUADS; d++) {
                    vec4 n0 = NEAR_AT(0, d), n1 = NEAR_AT(1, d), n2 = NEAR_AT(2, d), n3 = NEAR_AT(3, d);
                    vec4 f0 = SECOND_AT(0, d), f1 = SECOND_AT(1, d), f2 = SECOND_AT(2, d), f3 = SECOND_AT(3, d);
                    for (int r = 0; r < ROWS; r++) {
                        sumNear[r][d] = sumNear[r][d] FADE(r) + s[r].x * n0 + s[r].y * n1 + s[r].z * n2 + s[r].w * n3;
                        sumFar[r][d] = sumFar[r][d] FADE(r) + p[r].x * f0 + p[r].y * f1 + p[r].z * f2 + p[r].w * f3;
                    }
                }
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
#ifdef TILE_SHARED
        if (!working || first + r >= mine) {
#else
        if (first + r >= mine) {
#endif
            break;
        }
#ifdef KEY_SIDE
        int at = key_row(image, first + r, head) * QUADS;
        for (int d = 0; d < QUADS; d++) {
            y[firstK + at + d] = sumNear[r][d];
            y[firstV + at + d] = sumFar[r][d];
        }
#else
        int row = query_row(image, first + r, head);
        float part = total[r] == 0.0 ? 0.0 : 1.0 / total[r];
        float mean = product[r] * part;
        for (int d = 0; d < QUADS; d++) {
            y[firstQ + row * QUADS + d] = (sumNear[r][d] - mean * sumFar[r][d]) * (part * scale);
        }
        of_rows[2 * row] = total[r] == 0.0 ? 0.0 : top[r] + log(total[r]);
        of_rows[2 * row + 1] = origin[r] + mean;
#endif
    }
}
