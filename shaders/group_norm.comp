// Group norm in one launch, for groups small enough for one invocation or, with SHARED, one workgroup: y = ACT((x - mean) * scale *
// gamma + beta). rows counts groups, columns the items of one group: width neighbours, then a jump of stride to the next position.
#include "rows.glsl"
#include "index.glsl"
#include "activation.glsl"
#ifdef AFFINE
uniform samplerBuffer Gamma;
uniform samplerBuffer Beta;
#endif
uniform int groups, width, stride, batch_stride;
uniform float eps;

// An item of a group: its place among its neighbours, and its index.
struct Item {
    int k;
    int at;
};

Item item(int base, int e) {
    int r = quotient(e, width);
    return Item(e - r * width, base + r * stride + e - r * width);
}

// The item that comes LANES later.
Item next(Item i) {
    int jump = LANES / width;
    i.k += LANES - jump * width;
    i.at += LANES - jump * width + jump * stride;
    if (i.k >= width) {
        i.k -= width;
        i.at += stride - width;
    }
    return i;
}

void main() {
    int group = row_index();
    if (group >= rows) {
        return;
    }
    int image = quotient(group, groups);
    int channel = (group - image * groups) * width;
    int base = image * batch_stride + channel;
    float count = float(columns * WIDTH);
    Item first = item(base, lane()), i = first;
    ITEM sum = ITEM(0.0);
    for (int e = lane(); e < columns; e += LANES, i = next(i)) {
        sum += FETCH(X, i.at);
    }
    float mean = row_sum(inside(sum)) / count;
    ITEM squares = ITEM(0.0);
    i = first;
    for (int e = lane(); e < columns; e += LANES, i = next(i)) {
        ITEM d = FETCH(X, i.at) - mean;
        squares += d * d;
    }
    float scale = 1.0 / sqrt(row_sum(inside(squares)) / count + eps);
    i = first;
    for (int e = lane(); e < columns; e += LANES, i = next(i)) {
        ITEM v = (FETCH(X, i.at) - mean) * scale;
#ifdef AFFINE
        v = v * FETCH(Gamma, channel + i.k) + FETCH(Beta, channel + i.k);
#endif
        y[i.at] = ACT(v);
    }
}
