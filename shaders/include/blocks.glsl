// Block-quantised operands as compute/quant.go stores them, in 32-bit words: block_quad gives elements 4 i to 4 i + 3. The
// including shader declares usamplerBuffer B and defines the type's name, such as BLOCKS_Q4_K.

uint word(int at) { return texelFetch(B, at).x; }

// The bytes of a word, and the same as signed numbers.
vec4 bytes(uint w) { return vec4(uvec4(w, w >> 8, w >> 16, w >> 24) & 255u); }
vec4 signed_bytes(uint w) {
    int s = int(w);
    return vec4(bitfieldExtract(s, 0, 8), bitfieldExtract(s, 8, 8), bitfieldExtract(s, 16, 8), s >> 24);
}

// Four bits as the bytes of a word.
uint spread(uint four) { return (four & 1u) | (four & 2u) << 7 | (four & 4u) << 14 | (four & 8u) << 21; }

#ifdef BLOCKS_Q4_0
vec4 block_quad(int i) {
    int at = i / 8 * 5, j = i & 7;
    uint q = word(at + 1 + (j & 3)) >> (j / 4 * 4) & 0x0f0f0f0fu;
    return unpackHalf2x16(word(at)).x * (bytes(q) - 8.0);
}
#endif

#ifdef BLOCKS_Q4_1
vec4 block_quad(int i) {
    int at = i / 8 * 5, j = i & 7;
    uint q = word(at + 1 + (j & 3)) >> (j / 4 * 4) & 0x0f0f0f0fu;
    vec2 d = unpackHalf2x16(word(at));
    return d.x * bytes(q) + d.y;
}
#endif

#ifdef BLOCKS_Q5_0
vec4 block_quad(int i) {
    int at = i / 8 * 6, j = i & 7;
    uint q = word(at + 2 + (j & 3)) >> (j / 4 * 4) & 0x0f0f0f0fu | spread(word(at + 1) >> (4 * j)) << 4;
    return unpackHalf2x16(word(at)).x * (bytes(q) - 16.0);
}
#endif

#ifdef BLOCKS_Q5_1
vec4 block_quad(int i) {
    int at = i / 8 * 6, j = i & 7;
    uint q = word(at + 2 + (j & 3)) >> (j / 4 * 4) & 0x0f0f0f0fu | spread(word(at + 1) >> (4 * j)) << 4;
    vec2 d = unpackHalf2x16(word(at));
    return d.x * bytes(q) + d.y;
}
#endif

#ifdef BLOCKS_Q8_0
vec4 block_quad(int i) {
    int at = i / 8 * 9;
    return unpackHalf2x16(word(at)).x * signed_bytes(word(at + 1 + (i & 7)));
}
#endif

#ifdef BLOCKS_Q2_K
vec4 block_quad(int i) {
    int at = i / 64 * 21, j = i & 63;
    uint s = word(at + j / 16) >> (j / 4 % 4 * 8) & 255u;
    uint q = word(at + 4 + j / 32 * 8 + j % 8) >> (j % 32 / 8 * 2) & 0x03030303u;
    vec2 d = unpackHalf2x16(word(at + 20));
    return d.x * float(s & 15u) * bytes(q) - d.y * float(s >> 4);
}
#endif

#ifdef BLOCKS_Q3_K
vec4 block_quad(int i) {
    int at = i / 64 * 28, j = i & 63, g = j / 4, byte = g % 4 * 8;
    uint low = word(at + 24 + g % 8 / 4) >> (byte + g / 8 * 4) & 15u;
    uint high = word(at + 26) >> (byte + g / 4 * 2) & 3u;
    uint q = word(at + 8 + j / 32 * 8 + j % 8) >> (j % 32 / 8 * 2) & 0x03030303u;
    q |= (word(at + j % 8) >> (j / 8) & 0x01010101u) << 2;
    return unpackHalf2x16(word(at + 27)).x * (float(low | high << 4) - 32.0) * (bytes(q) - 4.0);
}
#endif

#if defined(BLOCKS_Q4_K) || defined(BLOCKS_Q5_K)
// Scale and offset of run g of 8.
vec2 scale_and_offset(int at, int g) {
    int byte = g % 4 * 8;
    uint s = word(at + 1) >> byte, m = word(at + 2) >> byte;
    if (g < 4) {
        return vec2(s & 63u, m & 63u);
    }
    uint both = word(at + 3) >> byte;
    return vec2(both & 15u | (s >> 6 & 3u) << 4, both >> 4 & 15u | (m >> 6 & 3u) << 4);
}
#endif

#ifdef BLOCKS_Q4_K
vec4 block_quad(int i) {
    int at = i / 64 * 36, j = i & 63, g = j / 8;
    vec2 d = unpackHalf2x16(word(at)) * scale_and_offset(at, g);
    return d.x * bytes(word(at + 4 + g / 2 * 8 + j % 8) >> (g % 2 * 4) & 0x0f0f0f0fu) - d.y;
}
#endif

#ifdef BLOCKS_Q5_K
vec4 block_quad(int i) {
    int at = i / 64 * 44, j = i & 63, g = j / 8;
    vec2 d = unpackHalf2x16(word(at)) * scale_and_offset(at, g);
    uint q = word(at + 12 + g / 2 * 8 + j % 8) >> (g % 2 * 4) & 0x0f0f0f0fu | (word(at + 4 + j % 8) >> g & 0x01010101u) << 4;
    return d.x * bytes(q) - d.y;
}
#endif

#ifdef BLOCKS_Q6_K
vec4 block_quad(int i) {
    int at = i / 64 * 53, j = i & 63, run = j % 32 / 8;
    uint q = word(at + j / 32 * 16 + run % 2 * 8 + j % 8) >> (run / 2 * 4) & 0x0f0f0f0fu;
    q |= (word(at + 32 + j / 32 * 8 + j % 8) >> (run * 2) & 0x03030303u) << 4;
    int scale = bitfieldExtract(int(word(at + 48 + j / 16)), j / 4 % 4 * 8, 8);
    return unpackHalf2x16(word(at + 52)).x * float(scale) * (bytes(q) - 32.0);
}
#endif

#ifdef BLOCKS_Q8_K
vec4 block_quad(int i) {
    int at = i / 64 * 73;
    return uintBitsToFloat(word(at)) * signed_bytes(word(at + 1 + (i & 63)));
}
#endif
