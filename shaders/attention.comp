// Attention with running softmax, never holding the scores: softmax(scale·q·kᵀ + mask)·v for each head, by the online
// normaliser of Milakov and Gimelshein 2018, four keys at a time. Defines: QUADS is the head size in texels.
// TILE_DIRECT: an invocation takes ROWS queries and fetches keys and values itself.
// TILE_SHARED: a workgroup takes 64 queries of one head and stages KEYS keys and values in shared memory.
#include "index.glsl"
#ifdef TILE_SHARED
#define ROWS 1
#define BLOCK 64
layout(local_size_x = 64) in;
shared vec4 keyTile[KEYS * QUADS];
shared vec4 valueTile[KEYS * QUADS];
#else
#define BLOCK ROWS
layout(local_size_x = 8) in;
#endif
#include "grid.glsl"
layout(std430, binding = 0) writeonly buffer Y0 { vec4 y[]; };
uniform samplerBuffer Q, K, V;
uniform int queries, keys, heads, share; // share query heads read one key head
uniform int keyPitch;                    // texels between neighbouring keys
uniform int matrices;                    // heads of all pictures
uniform int causal;
uniform float scale;
#ifdef MASK
uniform samplerBuffer Mask;
uniform int maskB, maskH, maskQ, maskK; // elements between neighbours along the mask's axes
#endif

const float LOW = -3.0e38; // scores of hidden keys; finite, because Inf − Inf is NaN

struct Block { int batch, head, query, first; }; // first query, and first texel of the keys of its head

Block block_at(int i, int blocks) {
    Block b;
    int matrix = quotient(i, blocks);
    b.batch = quotient(matrix, heads);
    b.head = matrix - b.batch * heads;
    b.query = (i - matrix * blocks) * BLOCK;
    b.first = b.batch * keys * keyPitch + quotient(b.head, share) * QUADS;
    return b;
}

int visible(int query) {
    return causal > 0 ? clamp(query + keys - queries + 1, 0, keys) : keys;
}

// Hides keys from seen on, and adds the mask.
vec4 finish(vec4 s, Block b, int query, int key, int seen) {
    s *= scale;
#ifdef MASK
    int at = b.batch * maskB + b.head * maskH + min(query, queries - 1) * maskQ;
    for (int j = 0; j < 4; j++) {
        s[j] += texelFetch(Mask, at + min(key + j, keys - 1) * maskK).x;
    }
#endif
    return mix(s, vec4(LOW), greaterThanEqual(ivec4(key) + ivec4(0, 1, 2, 3), ivec4(seen)));
}

void main() {
    int blocks = (queries + BLOCK - 1) / BLOCK; // of each head
    int count = matrices * blocks;
#ifdef TILE_SHARED
    int id = group_index();
    bool working = id < count; // idle workgroups still meet the barriers
    Block b = block_at(min(id, count - 1), blocks);
    int query = b.query + int(gl_LocalInvocationID.x);
    int last = min(b.query + BLOCK - 1, queries - 1);
#else
    int id = invocation_index();
    if (id >= count) {
        return;
    }
    Block b = block_at(id, blocks);
    int query = b.query;
    int last = min(query + BLOCK - 1, queries - 1);
#endif
    vec4 q[ROWS][QUADS], sum[ROWS][QUADS];
    float top[ROWS], total[ROWS];
    for (int r = 0; r < ROWS; r++) {
        int at = ((b.batch * queries + min(query + r, queries - 1)) * heads + b.head) * QUADS;
        for (int d = 0; d < QUADS; d++) {
            q[r][d] = texelFetch(Q, at + d);
            sum[r][d] = vec4(0.0);
        }
        top[r] = LOW;
        total[r] = 0.0;
    }
    int end = visible(last);
#ifdef TILE_SHARED
    for (int tile = 0; tile < end; tile += KEYS) {
        memoryBarrierShared();
        barrier();
        for (int i = int(gl_LocalInvocationID.x); i < KEYS * QUADS; i += 64) {
            int at = b.first + min(tile + i / QUADS, keys - 1) * keyPitch + i % QUADS;
            keyTile[i] = texelFetch(K, at);
            valueTile[i] = texelFetch(V, at);
        }
        memoryBarrierShared();
        barrier();
        for (int key = tile; key < min(tile + KEYS, end); key += 4) {
            int at = (key - tile) * QUADS;
#define KEY(j, d) keyTile[at + (j) * QUADS + (d)]
#define VALUE(j, d) valueTile[at + (j) * QUADS + (d)]
#else
    {
        for (int key = 0; key < end; key += 4) {
            ivec4 at = ivec4(b.first) + min(ivec4(key) + ivec4(0, 1, 2, 3), ivec4(keys - 1)) * keyPitch;
#define KEY(j, d) texelFetch(K, at[j] + (d))
#define VALUE(j, d) texelFetch(V, at[j] + (d))
#endif
            vec4 s[ROWS];
            for (int r = 0; r < ROWS; r++) {
                s[r] = vec4(0.0);
            }
            for (int d = 0; d < QUADS; d++) {
                vec4 k0 = KEY(0, d), k1 = KEY(1, d), k2 = KEY(2, d), k3 = KEY(3, d);
                for (int r = 0; r < ROWS; r++) {
                    s[r] += vec4(dot(q[r][d], k0), dot(q[r][d], k1), dot(q[r][d], k2), dot(q[r][d], k3));
                }
            }
            float fade[ROWS]; // of what was summed under an older, smaller maximum
            for (int r = 0; r < ROWS; r++) {
                vec4 v = finish(s[r], b, query + r, key, visible(query + r));
                float next = max(max(max(v.x, v.y), max(v.z, v.w)), top[r]);
                fade[r] = exp(top[r] - next);
                s[r] = mix(exp(v - next), vec4(0.0), lessThanEqual(v, vec4(LOW)));
                total[r] = total[r] * fade[r] + (s[r].x + s[r].y + s[r].z + s[r].w);
                top[r] = next;
            }
            for (int d = 0; d < QUADS; d++) {
                vec4 v0 = VALUE(0, d), v1 = VALUE(1, d), v2 = VALUE(2, d), v3 = VALUE(3, d);
                for (int r = 0; r < ROWS; r++) {
                    sum[r][d] = sum[r][d] * fade[r] + s[r].x * v0 + s[r].y * v1 + s[r].z * v2 + s[r].w * v3;
                }
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
#ifdef TILE_SHARED
        if (!working || query + r >= queries) {
#else
        if (query + r >= queries) {
#endif
            break;
        }
        int at = ((b.batch * queries + query + r) * heads + b.head) * QUADS;
        float share = total[r] == 0.0 ? 0.0 : 1.0 / total[r];
        for (int d = 0; d < QUADS; d++) {
            y[at + d] = sum[r][d] * share;
        }
    }
}
