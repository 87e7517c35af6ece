// Whole-number division by way of floats: processors have no vector instruction for it, and software drivers run it lane by lane.

// n / d for n >= 0 and d > 0. The float estimate is off by at most n's rounding; two corrections make it exact.
int quotient(int n, int d) {
    float inverse = 1.0 / float(d);
    int q = int(float(n) * inverse);
    int r = n - q * d;
    int c = int(floor(float(r) * inverse));
    q += c;
    r -= c * d;
    return r < 0 ? q - 1 : (r >= d ? q + 1 : q);
}
