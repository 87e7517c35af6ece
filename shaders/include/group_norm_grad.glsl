// What the gradients of group norm have in common: x̂ and dz = dy·act′(gamma·x̂ + beta) of items of x [batch rows columns], the
// statistics of a picture's channel being the same in all rows. QUAD: an item is four channels.
#include "grid.glsl"
#include "index.glsl"
#include "activation.glsl"
#include "slope.glsl"
layout(local_size_x = 32) in;
uniform samplerBuffer X;
uniform samplerBuffer Dy;
uniform int batch, rows, columns, parts, stretch; // rows go in parts of stretch
#ifdef AFFINE
uniform samplerBuffer Gamma;
uniform samplerBuffer Beta;
#endif
#ifdef QUAD
#define ITEM vec4
#define FETCH(sampler, i) texelFetch(sampler, i)
ITEM slope(ITEM z) { return SLOPE(z); }
#else
#define ITEM float
#define FETCH(sampler, i) texelFetch(sampler, i).x
ITEM slope(ITEM z) { return SLOPE(vec4(z)).x; }
#endif

// A stretch of rows of one column of a picture.
struct Stretch {
    int image, part, column;
    int first, end; // items of x, columns apart
};

// Stretch i; its image is batch or more where there is none.
Stretch stretch_at(int i) {
    Stretch s;
    int all = quotient(i, columns);
    s.column = i - all * columns;
    s.image = quotient(all, parts);
    s.part = all - s.image * parts;
    int row = s.part * stretch;
    s.first = (s.image * rows + row) * columns + s.column;
    s.end = s.first + min(stretch, rows - row) * columns;
    return s;
}

ITEM gamma_of(int column) {
#ifdef AFFINE
    return FETCH(Gamma, column);
#else
    return ITEM(1.0);
#endif
}
ITEM beta_of(int column) {
#ifdef AFFINE
    return FETCH(Beta, column);
#else
    return ITEM(0.0);
#endif
}
