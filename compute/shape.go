package compute

import (
	"fmt"
	"strconv"
	"strings"
)

// Shape is the extent of each axis, outermost first. A scalar is [1].
type Shape []int

// maxElements bounds a tensor so that flat indices fit the shaders' 32-bit ints, also those of a grid's idle invocations and the
// float estimates of include/index.glsl.
const maxElements = 1<<31 - 1<<16

// Size is the number of elements.
func (s Shape) Size() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Equal reports whether both shapes have the same axes.
func (s Shape) Equal(o Shape) bool {
	if len(s) != len(o) {
		return false
	}
	for i := range s {
		if s[i] != o[i] {
			return false
		}
	}
	return true
}

// String prints the shape as [2 77 768].
func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = strconv.Itoa(d)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// Last is the innermost extent, the channels of a channels-last tensor.
func (s Shape) Last() int { return s[len(s)-1] }

// Strides are the element steps of a row-major layout.
func (s Shape) Strides() []int {
	st, n := make([]int, len(s)), 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

// Axis resolves a possibly negative axis.
func (s Shape) Axis(a int) (int, error) {
	if a < 0 {
		a += len(s)
	}
	if a < 0 || a >= len(s) {
		return 0, fmt.Errorf("axis %d is outside %v", a, s)
	}
	return a, nil
}

func (s Shape) check() error {
	if len(s) == 0 {
		return fmt.Errorf("a shape needs at least one axis")
	}
	n := 1
	for _, d := range s {
		if d <= 0 {
			return fmt.Errorf("extent %d in %v is not positive", d, s)
		}
		if n > maxElements/d {
			return fmt.Errorf("%v has more than %d elements", s, maxElements)
		}
		n *= d
	}
	return nil
}

// Broadcast is the common shape of a and b under NumPy's rule: axes align at the end, and an extent of 1 stretches.
func Broadcast(a, b Shape) (Shape, error) {
	n := max(len(a), len(b))
	out := make(Shape, n)
	for i := range n {
		da, db := 1, 1
		if j := i - n + len(a); j >= 0 {
			da = a[j]
		}
		if j := i - n + len(b); j >= 0 {
			db = b[j]
		}
		switch {
		case da == db || db == 1:
			out[i] = da
		case da == 1:
			out[i] = db
		default:
			return nil, fmt.Errorf("shapes do not broadcast: %v · %v", a, b)
		}
	}
	return out, nil
}
