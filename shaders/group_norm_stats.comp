// Mean and summed squared deviations of each channel over a stretch of rows of x [batch rows columns]; results are
// [batch parts columns]. Sums are of differences to the stretch's first element, so that a large mean costs no digits.
#include "grid.glsl"
#include "index.glsl"
layout(local_size_x = 32) in;
uniform samplerBuffer X;
uniform int batch, rows, columns, parts, stretch;
#ifdef QUAD
#define ITEM vec4
#define FETCH(i) texelFetch(X, i)
#else
#define ITEM float
#define FETCH(i) texelFetch(X, i).x
#endif
layout(std430, binding = 0) writeonly buffer Y0 { ITEM means[]; };
layout(std430, binding = 1) writeonly buffer Y1 { ITEM squares[]; };

void main() {
    int i = invocation_index();
    int part = quotient(i, columns);
    int image = quotient(part, parts);
    if (image >= batch) {
        return;
    }
    int first = (part - image * parts) * stretch;
    int count = min(stretch, rows - first);
    int base = (image * rows + first) * columns + i - part * columns;
    ITEM origin = FETCH(base);
    ITEM sum = ITEM(0.0), square = ITEM(0.0);
    for (int r = 1; r < count; r++) {
        ITEM d = FETCH(base + r * columns) - origin;
        sum += d;
        square += d * d;
    }
    ITEM mean = sum / float(count);
    means[i] = origin + mean;
    squares[i] = square - sum * mean;
}
