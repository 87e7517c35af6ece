package compute_test

import (
	"testing"

	"atelier/compute"
)

func TestReshape(t *testing.T) { checkOps(t, "reshape") }

func TestGather(t *testing.T) { checkOps(t, "gather", "embedding", "gather_grad") }

func TestConcat(t *testing.T) { checkOps(t, "concat") }

func TestSliceAndPad(t *testing.T) { checkOps(t, "slice", "pad") }

func TestPermute(t *testing.T) { checkOps(t, "permute", "broadcast") }

func TestResize(t *testing.T) {
	checkOps(t, "resize_nearest", "resize_nearest_grad", "resize_bilinear", "resize_bilinear_grad")
}

func TestPixelShuffle(t *testing.T) { checkOps(t, "pixel_shuffle", "pixel_unshuffle") }

func TestLayoutMistakes(t *testing.T) {
	for want, build := range map[string]func(g *compute.Graph) *compute.Tensor{
		"reshape: [2 2] does not hold the elements of [3]": func(g *compute.Graph) *compute.Tensor {
			return compute.Reshape(g.Input("x", 3), 2, 2)
		},
		"concat: [2 3] and [3 3] differ on another axis than 1": func(g *compute.Graph) *compute.Tensor {
			return compute.Concat(1, g.Input("a", 2, 3), g.Input("b", 3, 3))
		},
		"concat: [2 3] and [2] differ": func(g *compute.Graph) *compute.Tensor {
			return compute.Concat(0, g.Input("a", 2, 3), g.Input("b", 2))
		},
		"slice: [1, 4) is not a stretch of axis 0 of [3]": func(g *compute.Graph) *compute.Tensor {
			return compute.Slice(g.Input("x", 3), 0, 1, 4)
		},
		"slice: axis 1 is outside [3]": func(g *compute.Graph) *compute.Tensor {
			return compute.Slice(g.Input("x", 3), 1, 0, 1)
		},
		"pad: [2 3] needs 2 extents before and after, not 1 and 2": func(g *compute.Graph) *compute.Tensor {
			return compute.Pad(g.Input("x", 2, 3), []int{1}, []int{0, 0}, 0)
		},
		"pad: a negative pad on axis 0": func(g *compute.Graph) *compute.Tensor {
			return compute.Pad(g.Input("x", 2), []int{-1}, []int{0}, 0)
		},
		"permute: [0 0] does not name each axis of [2 3] once": func(g *compute.Graph) *compute.Tensor {
			return compute.Permute(g.Input("x", 2, 3), 0, 0)
		},
		"permute: [1] does not name each axis of [2 3] once": func(g *compute.Graph) *compute.Tensor {
			return compute.Permute(g.Input("x", 2, 3), 1)
		},
		"broadcast: [2 3] does not stretch to [2 4]": func(g *compute.Graph) *compute.Tensor {
			return compute.BroadcastTo(g.Input("x", 2, 3), 2, 4)
		},
		"embedding: index 3 is not one of the 3 on axis 0 of [3 2]": func(g *compute.Graph) *compute.Tensor {
			return compute.Embedding(g.Input("x", 3, 2), g.Const("ids", []float32{0, 3}, 2))
		},
		"gather: index 0.5 is not one of the 3": func(g *compute.Graph) *compute.Tensor {
			return compute.Gather(g.Input("x", 3, 2), 0, g.Const("ids", []float32{0.5}, 1))
		},
		"embedding: a table needs shape [vocabulary, channels], not [3]": func(g *compute.Graph) *compute.Tensor {
			return compute.Embedding(g.Input("x", 3), g.Input("ids", 1))
		},
		"resize_nearest: x needs shape [B H W C], not [3 3]": func(g *compute.Graph) *compute.Tensor {
			return compute.ResizeNearest(g.Input("x", 3, 3), 2, 2)
		},
		"resize_bilinear: extent 0 in [1 0 2 3] is not positive": func(g *compute.Graph) *compute.Tensor {
			return compute.ResizeBilinear(g.Input("x", 1, 3, 3, 3), 0, 2, false)
		},
		"pixel_shuffle: [1 2 2 6] is not [B H W C·r²] for r = 2": func(g *compute.Graph) *compute.Tensor {
			return compute.PixelShuffle(g.Input("x", 1, 2, 2, 6), 2)
		},
		"pixel_unshuffle: [1 3 2 6] is not [B rH rW C] for r = 2": func(g *compute.Graph) *compute.Tensor {
			return compute.PixelUnshuffle(g.Input("x", 1, 3, 2, 6), 2)
		},
		"glu: the last extent of [2 3] is odd": func(g *compute.Graph) *compute.Tensor {
			return compute.GLU(g.Input("x", 2, 3), compute.ActGELU)
		},
	} {
		wantMistake(t, want, build)
	}
}

// TestNearestAsPyTorch holds the nearest map to values that PyTorch 2 gives for torch.arange(n) at other sizes.
func TestNearestAsPyTorch(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{0, 1, 2, 3, 4}
	for _, dev := range devs {
		g := compute.NewGraph()
		got := runOn(t, dev, g, compute.ResizeNearest(g.Input("x", 1, 1, 5, 1), 1, 8), map[string][]float32{"x": x})
		for i, w := range []float32{0, 0, 1, 1, 2, 3, 3, 4} {
			if got[i] != w {
				t.Errorf("%s: 5 pixels as 8 are %v", dev.Name(), got)
				break
			}
		}
	}
}

// TestBilinearByHand holds the linear map to weights worked out by hand.
func TestBilinearByHand(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range devs {
		for _, c := range []struct {
			corners bool
			want    []float32
		}{{false, []float32{0, 0.25, 0.75, 1}}, {true, []float32{0, 1.0 / 3, 2.0 / 3, 1}}} {
			g := compute.NewGraph()
			got := runOn(t, dev, g, compute.ResizeBilinear(g.Input("x", 1, 2, 1, 1), 4, 1, c.corners), map[string][]float32{"x": {0, 1}})
			for i, w := range c.want {
				if d := got[i] - w; d > 1e-6 || d < -1e-6 {
					t.Errorf("%s: two pixels as four, corners %v, are %v, not %v", dev.Name(), c.corners, got, c.want)
					break
				}
			}
		}
	}
}

// TestPixelShuffleOrder: channel c·r² + i·r + j goes to row i, column j.
func TestPixelShuffleOrder(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{0, 1, 2, 3, 10, 11, 12, 13}
	for _, dev := range devs {
		g := compute.NewGraph()
		got := runOn(t, dev, g, compute.PixelShuffle(g.Input("x", 1, 1, 1, 8), 2), map[string][]float32{"x": x})
		for i, w := range []float32{0, 10, 1, 11, 2, 12, 3, 13} {
			if got[i] != w {
				t.Errorf("%s: %v", dev.Name(), got)
				break
			}
		}
	}
}
