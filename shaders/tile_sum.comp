// Ends what include/tile.glsl left as partial sums: adds the splits of the inner axis in order, then bias, activation and
// residual, and closes the gaps where columns do not fill texels.
#include "elementwise.glsl"
#include "activation.glsl"
uniform samplerBuffer X;      // splits arrays of partial texels (elements) each, in rows of pitch
uniform int splits, partial;
uniform int channels, group;  // innermost extent of the result and of each of its groups, in texels (elements)
uniform int positions, pitch; // rows of X in a group; texels (elements) between them
uniform int biasStep, pixels; // as in tile.glsl; pixels are the positions of a picture
uniform int hasResidual;
uniform samplerBuffer Bias, Residual;

vec4 total(int i) {
    int position = quotient(i, channels);
    int channel = i - position * channels;
    int g = quotient(channel, group);
    int at = (g * positions + position) * pitch + channel - g * group;
    vec4 v = texelFetch(X, at);
    for (int s = 1; s < splits; s++) {
        v += texelFetch(X, at + s * partial);
    }
    if (biasStep >= 0) {
        v += texelFetch(Bias, channel + quotient(position, pixels) * biasStep);
    }
    v = ACT(v);
    if (hasResidual > 0) {
        v += texelFetch(Residual, i);
    }
    return v;
}

#ifdef QUAD
vec4 quad(int i) { return total(i); }
#else
float element(int i) { return total(i).x; }
#endif
