// An invocation a group, or with SHARED a workgroup: combines the means and squared deviations [batch parts channels] of its channels' stretches (Chan et
// al., 1979) into the mean and the factor gamma / sigma for every channel [batch channels].
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 32) in;
uniform samplerBuffer Means;
uniform samplerBuffer Squares;
#ifdef AFFINE
uniform samplerBuffer Gamma;
#endif
uniform int batch, rows, channels, groups, parts, stretch;
uniform float eps;
layout(std430, binding = 0) writeonly buffer Y0 { float mean_of[]; };
layout(std430, binding = 1) writeonly buffer Y1 { float scale_of[]; };

#ifdef SHARED
const int LANES = 32;
shared float partial[LANES];

// All invocations of the workgroup are here, and see what the others wrote: barrier() alone does not promise the second.
void meet() {
    memoryBarrierShared();
    barrier();
}

float total(float v) {
    int lane = int(gl_LocalInvocationID.x);
    partial[lane] = v;
    meet();
    for (int reach = LANES / 2; reach > 0; reach /= 2) {
        if (lane < reach) {
            partial[lane] += partial[lane + reach];
        }
        meet();
    }
    float all = partial[0];
    meet();
    return all;
}
#else
const int LANES = 1;
float total(float v) { return v; }
#endif

void main() {
#ifdef SHARED
    int group = group_index(), lane = int(gl_LocalInvocationID.x);
#else
    int group = invocation_index(), lane = 0;
#endif
    if (group >= batch * groups) {
        return;
    }
    int width = channels / groups;
    int image = group / groups;
    int first = (group - image * groups) * width;
    float count = float(rows) * float(width);
    float origin = texelFetch(Means, image * parts * channels + first).x;
    float sum = 0.0;
    for (int e = lane; e < parts * width; e += LANES) {
        int p = quotient(e, width);
        float n = float(min(stretch, rows - p * stretch));
        sum += n * (texelFetch(Means, (image * parts + p) * channels + first + e - p * width).x - origin);
    }
    float mean = origin + total(sum) / count;
    float square = 0.0;
    for (int e = lane; e < parts * width; e += LANES) {
        int p = quotient(e, width);
        int at = (image * parts + p) * channels + first + e - p * width;
        float d = texelFetch(Means, at).x - mean;
        square += texelFetch(Squares, at).x + float(min(stretch, rows - p * stretch)) * d * d;
    }
    float scale = 1.0 / sqrt(total(square) / count + eps);
    for (int k = lane; k < width; k += LANES) {
        mean_of[image * channels + first + k] = mean;
#ifdef AFFINE
        scale_of[image * channels + first + k] = scale * texelFetch(Gamma, first + k).x;
#else
        scale_of[image * channels + first + k] = scale;
#endif
    }
}
