// Left and right of convolutions for tile.glsl: the channels of positions of x, zero where at is -1, and of kernels. The
// including shader declares X, W and inner.

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
