// One axis of a resize as PyTorch maps it: result pixel i lies between pixels x and y, the second with weight w.
struct Source {
    int x;
    int y;
    float w;
};

Source source_of(int i, int from, float scale, float offset) {
    float s = scale * float(i);
#ifdef NEAREST
    int p = min(int(floor(s)), from - 1);
    return Source(p, p, 0.0);
#else
    s = max(s + offset, 0.0);
    int p = min(int(s), from - 1);
    return Source(p, min(p + 1, from - 1), s - float(p));
#endif
}

uniform int from_v, to_v, from_h, to_h, columns;
uniform float scale_v, offset_v, scale_h, offset_h;
