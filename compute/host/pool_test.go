package host

import (
	"sync/atomic"
	"testing"
)

// Every index is worked on exactly once, however calls follow each other, and with more helpers than cores.
func TestPoolCoversEveryIndexOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 8} {
		p := newPool(workers)
		for call := range 3000 {
			n := call%97 + 1
			counts := make([]atomic.Int32, n)
			p.each(n, 1, func(lo, hi int) {
				for i := lo; i < hi; i++ {
					counts[i].Add(1)
				}
			})
			for i := range counts {
				if c := counts[i].Load(); c != 1 {
					t.Fatalf("%d workers, call %d: index %d of %d was worked on %d times", workers, call, i, n, c)
				}
			}
		}
		p.close()
		sum := 0
		p.each(10, 1, func(lo, hi int) { sum += hi - lo })
		if sum != 10 {
			t.Errorf("after closing, %d of 10 indices were worked on", sum)
		}
	}
}
