// [batch 4 channels] of an invocation a channel: mean, 1/σ, and the sums over its parts of sums and products [batch parts channels].
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 32) in;
uniform samplerBuffer Mean;
uniform samplerBuffer Scale;
uniform samplerBuffer Sums;
uniform samplerBuffer Products;
uniform int batch, channels, parts;
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };

void main() {
    int i = invocation_index();
    int image = quotient(i, channels);
    if (image >= batch) {
        return;
    }
    int channel = i - image * channels;
    float sum = 0.0, product = 0.0;
    for (int p = 0; p < parts; p++) {
        int at = (image * parts + p) * channels + channel;
        sum += texelFetch(Sums, at).x;
        product += texelFetch(Products, at).x;
    }
    int to = image * 4 * channels + channel;
    y[to] = texelFetch(Mean, i).x;
    y[to + channels] = texelFetch(Scale, i).x;
    y[to + 2 * channels] = sum;
    y[to + 3 * channels] = product;
}
