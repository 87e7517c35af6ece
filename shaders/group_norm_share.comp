// What every element of a group loses in group norm's gradient, an invocation a group: the means over the group of gamma·dz and of
// gamma·dz·x̂, for each channel [batch channels], from the moments [batch 4 channels].
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 32) in;
uniform samplerBuffer Moments;
#ifdef AFFINE
uniform samplerBuffer Gamma;
#endif
uniform int batch, rows, channels, groups;
layout(std430, binding = 0) writeonly buffer Y0 { float sums[]; };
layout(std430, binding = 1) writeonly buffer Y1 { float products[]; };

void main() {
    int i = invocation_index();
    int image = quotient(i, groups);
    if (image >= batch) {
        return;
    }
    int width = channels / groups;
    int first = (i - image * groups) * width;
    float sum = 0.0, product = 0.0;
    for (int k = first; k < first + width; k++) {
#ifdef AFFINE
        float gamma = texelFetch(Gamma, k).x;
#else
        float gamma = 1.0;
#endif
        sum += gamma * texelFetch(Moments, (image * 4 + 2) * channels + k).x;
        product += gamma * texelFetch(Moments, (image * 4 + 3) * channels + k).x;
    }
    float count = float(rows) * float(width);
    for (int k = first; k < first + width; k++) {
        sums[image * channels + k] = sum / count;
        products[image * channels + k] = product / count;
    }
}
