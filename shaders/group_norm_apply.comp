// y = ACT((x - mean) * scale + beta) for x [batch rows columns], mean and scale [batch columns]. An invocation walks stretch rows
// of one column.
#include "grid.glsl"
#include "index.glsl"
#include "activation.glsl"
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform samplerBuffer Mean;
uniform samplerBuffer Scale;
#ifdef AFFINE
uniform samplerBuffer Beta;
#endif
uniform int batch, rows, columns, stretch;
#ifdef QUAD
#define ITEM vec4
#define FETCH(sampler, i) texelFetch(sampler, i)
#else
#define ITEM float
#define FETCH(sampler, i) texelFetch(sampler, i).x
#endif
layout(std430, binding = 0) writeonly buffer Y0 { ITEM y[]; };

void main() {
    int i = invocation_index();
    int part = quotient(i, columns);
    int column = i - part * columns;
    int parts = (rows + stretch - 1) / stretch;
    int image = quotient(part, parts);
    if (image >= batch) {
        return;
    }
    int first = (part - image * parts) * stretch;
    int end = min(first + stretch, rows);
    ITEM mean = FETCH(Mean, image * columns + column), scale = FETCH(Scale, image * columns + column);
    ITEM beta = ITEM(0.0);
#ifdef AFFINE
    beta = FETCH(Beta, column);
#endif
    for (int r = first; r < end; r++) {
        int at = (image * rows + r) * columns + column;
        y[at] = ACT((FETCH(X, at) - mean) * scale + beta);
    }
}
