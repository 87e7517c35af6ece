package checkpoint

import "slices"

// view is a tensor that is not a run of little-endian elements in row-major order: elements with strides over a storage that
// several tensors may share, or in the other byte order.
type view struct {
	storage []byte
	offset  int   // of the first element, in elements
	strides []int // in elements, one for each axis
	swap    bool  // elements are big-endian
}

// rowMajor reports whether strides are those of a contiguous tensor; axes of extent 1 may have any.
func rowMajor(shape, strides []int) bool {
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != n {
			return false
		}
		n *= shape[i]
	}
	return true
}

// gather copies the elements from on, in row-major order, to dst, size bytes each.
func (v *view) gather(dst []byte, shape []int, from, size int) {
	n := len(dst) / size
	if n == 0 {
		return
	}
	index := make([]int, len(shape))
	at := v.offset
	for i, rest := len(shape)-1, from; i >= 0; i-- {
		index[i] = rest % shape[i]
		rest /= shape[i]
		at += index[i] * v.strides[i]
	}
	for i := range n {
		copy(dst[i*size:(i+1)*size], v.storage[at*size:])
		for axis := len(shape) - 1; axis >= 0; axis-- {
			at += v.strides[axis]
			if index[axis]++; index[axis] < shape[axis] {
				break
			}
			at -= index[axis] * v.strides[axis]
			index[axis] = 0
		}
	}
	if v.swap && size > 1 {
		for i := range n {
			slices.Reverse(dst[i*size : (i+1)*size])
		}
	}
}
