// Philox4x32-10 by the key of compute.RandomKey.
uniform samplerBuffer Key; // 16-bit digits, lowest first: seed (4), stream (2)

uvec4 philox(uvec4 c, uvec2 k) {
    for (int round = 0; round < 10; round++) {
        uint h0, l0, h1, l1;
        umulExtended(0xd2511f53u, c.x, h0, l0);
        umulExtended(0xcd9e8d57u, c.z, h1, l1);
        c = uvec4(h1 ^ c.y ^ k.x, l1, h0 ^ c.w ^ k.y, l0);
        k += uvec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// Block i of the key's stream at a site.
uvec4 random_block(int i, int site) {
    uvec4 low = uvec4(texelFetch(Key, 0)), high = uvec4(texelFetch(Key, 1));
    uvec2 seed = uvec2(low.x | low.y << 16, low.z | low.w << 16);
    return philox(uvec4(uint(i), 0u, high.x | high.y << 16, uint(site)), seed);
}
