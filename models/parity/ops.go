package parity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/nn"
	"atelier/models/rnn"
)

// fixture is an entry of ops.json: one op of PyTorch with its gradients.
type fixture struct {
	Op      string           `json:"op"`
	Attrs   attrs            `json:"attrs"`
	Inputs  map[string][]int `json:"inputs"`
	Outputs []string         `json:"outputs"`
	Grads   []string         `json:"grads"`
}

// attrs are an op's settings.
type attrs map[string]any

// number is a setting, or otherwise where there is none.
func (a attrs) number(name string, otherwise float64) float64 {
	if v, ok := a[name].(float64); ok {
		return v
	}
	return otherwise
}

// numbers is a setting that is a list, or a number n times over.
func (a attrs) numbers(name string, n int, otherwise float64) []int {
	v := make([]int, n)
	list, isList := a[name].([]any)
	for i := range v {
		v[i] = int(a.number(name, otherwise))
		if isList && i < len(list) {
			n, _ := list[i].(float64)
			v[i] = int(n)
		}
	}
	return v
}

// operands are an op's inputs in PyTorch's order of axes.
type operands map[string]*compute.Tensor

// last moves the axis of channels, the second, to the end; first moves it back.
func last(x *compute.Tensor) *compute.Tensor {
	axes := []int{0}
	for i := 2; i < len(x.Shape()); i++ {
		axes = append(axes, i)
	}
	return compute.Permute(x, append(axes, 1)...)
}

func first(x *compute.Tensor) *compute.Tensor {
	n := len(x.Shape())
	axes := []int{0, n - 1}
	for i := 1; i < n-1; i++ {
		axes = append(axes, i)
	}
	return compute.Permute(x, axes...)
}

// pair puts the settings of one axis or two into a convolution's.
func pair(v []int) [2]int {
	if len(v) == 1 {
		return [2]int{1, v[0]}
	}
	return [2]int{v[0], v[1]}
}

func convOpts(a attrs, dims int, bias *compute.Tensor) compute.ConvOpts {
	o := compute.ConvOpts{Stride: pair(a.numbers("stride", dims, 1)), Dilation: pair(a.numbers("dilation", dims, 1)), Groups: int(a.number("groups", 1)), Bias: bias}
	pad := a.numbers("padding", dims, 0)
	if dims == 1 {
		pad = []int{0, pad[0]}
	}
	o.Pad = [4]int{pad[0], pad[0], pad[1], pad[1]}
	if _, ok := a["pad_lrtb"]; ok {
		p := a.numbers("pad_lrtb", 4, 0)
		o.Pad = [4]int{p[2], p[3], p[0], p[1]}
	}
	return o
}

// transposedKernel turns PyTorch's [in out/groups k…] into [out k… in/groups].
func transposedKernel(w *compute.Tensor, groups int) *compute.Tensor {
	s := w.Shape()
	shape := append([]int{groups, s[0] / groups, s[1]}, s[2:]...)
	w = compute.Reshape(w, shape...)
	axes := []int{0, 2}
	for i := 3; i < len(shape); i++ {
		axes = append(axes, i)
	}
	p := compute.Permute(w, append(axes, 1)...)
	return compute.Reshape(p, append([]int{groups * s[1]}, p.Shape()[2:]...)...)
}

func convTranspose(a attrs, dims int, in operands) *compute.Tensor {
	c := convOpts(a, dims, in["b"])
	o := compute.ConvTransposeOpts{Stride: c.Stride, Dilation: c.Dilation, Pad: c.Pad, Groups: c.Groups, Bias: in["b"], OutputPad: pair(a.numbers("output_padding", dims, 0))}
	w := transposedKernel(in["w"], c.Groups)
	if dims == 1 {
		o.OutputPad[0] = 0
		return first(compute.ConvTranspose1D(last(in["x"]), w, o))
	}
	return first(compute.ConvTranspose2D(last(in["x"]), w, o))
}

// heads turns [B H T D] into [B T H·D]; unheads turns the result back.
func heads(x *compute.Tensor) *compute.Tensor {
	p := compute.Permute(x, 0, 2, 1, 3)
	return compute.Reshape(p, p.Dim(0), p.Dim(1), -1)
}

func attention(a attrs, in operands) *compute.Tensor {
	q, h := in["q"], in["q"].Dim(1)
	causal, _ := a["causal"].(bool)
	y := compute.Attention(heads(q), heads(in["k"]), heads(in["v"]), compute.AttentionOpts{Heads: h, KVHeads: in["k"].Dim(1), Causal: causal})
	return compute.Permute(compute.Reshape(y, y.Dim(0), y.Dim(1), h, -1), 0, 2, 1, 3)
}

var activations = map[string]func(x *compute.Tensor) *compute.Tensor{
	"silu": compute.SiLU, "gelu_erf": compute.GELU, "gelu_tanh": compute.GELUTanh, "quick_gelu": compute.QuickGELU, "relu": compute.ReLU,
	"tanh": compute.Tanh, "sigmoid": compute.Sigmoid, "softplus": compute.Softplus, "mish": compute.Mish, "hardswish": compute.HardSwish,
	"erf": compute.Erf, "sin": compute.Sin,
	"leaky_relu_01": func(x *compute.Tensor) *compute.Tensor { return compute.LeakyReLU(x, 0.1) },
	"leaky_relu_02": func(x *compute.Tensor) *compute.Tensor { return compute.LeakyReLU(x, 0.2) },
	"elu":           func(x *compute.Tensor) *compute.Tensor { return compute.ELU(x, 1) },
	"exp_clamped":   func(x *compute.Tensor) *compute.Tensor { return compute.Exp(compute.Clamp(x, -1e30, 80)) },
}

// cell is a recurrent cell whose weights are operands.
func cell(kind rnn.Kind, in operands) []*compute.Tensor {
	s := nn.Initialise(1)
	c := rnn.NewCell(s, kind, in["x"].Dim(1), in["h"].Dim(1), false)
	g := in["x"].Graph()
	for i, name := range []string{"wi", "wh", "bi", "bh"} {
		g.Bind(s.Params()[i].Source, in[name])
	}
	h, cn := c.Step(in["x"], in["h"], in["c"])
	if cn == nil {
		return []*compute.Tensor{h}
	}
	return []*compute.Tensor{h, cn}
}

func targets(a attrs, g *compute.Graph) *compute.Tensor {
	list, _ := a["target"].([]any)
	v := make([]float32, len(list))
	for i, t := range list {
		n, _ := t.(float64)
		v[i] = float32(n)
	}
	return g.Const("target", v, len(v))
}

// build records a fixture's op.
func build(f fixture, in operands) []*compute.Tensor {
	if y := buildLayer(f, in); y != nil {
		return []*compute.Tensor{y}
	}
	if y := buildPicture(f, in); y != nil {
		return []*compute.Tensor{y}
	}
	if y := buildLoss(f, in); y != nil {
		return []*compute.Tensor{y}
	}
	for prefix, kind := range map[string]rnn.Kind{"lstm_cell": rnn.LSTM, "gru_cell": rnn.GRU, "rnn_tanh_cell": rnn.Tanh} {
		if strings.HasPrefix(f.Op, prefix) {
			return cell(kind, in)
		}
	}
	return []*compute.Tensor{buildOther(f, in)}
}

// buildLayer is convolutions, norms, activations, products and attention.
func buildLayer(f fixture, in operands) *compute.Tensor {
	a, x, w, b, eps := f.Attrs, in["x"], in["w"], in["b"], f.Attrs.number("eps", 1e-5)
	is := func(prefix string) bool { return strings.HasPrefix(f.Op, prefix) }
	switch {
	case is("conv2d"):
		return first(compute.Conv2D(last(x), last(w), convOpts(a, 2, b)))
	case is("conv1d"):
		return first(compute.Conv1D(last(x), last(w), convOpts(a, 1, b)))
	case is("conv3d"):
		p := a.numbers("padding", 3, 0)
		return first(compute.Conv3D(last(x), last(w), b, [3]int{p[0], p[1], p[2]}, compute.ConvOpts{}))
	case is("convT1d"):
		return convTranspose(a, 1, in)
	case is("convT2d"):
		return convTranspose(a, 2, in)
	case is("group_norm"):
		return first(compute.GroupNorm(last(x), w, b, int(a.number("groups", 1)), eps, compute.ActNone))
	case is("layer_norm"):
		return compute.LayerNorm(x, w, b, eps)
	case is("rms_norm"):
		return compute.RMSNorm(x, w, eps)
	case is("batch_norm2d_train"):
		return first(compute.BatchNorm(last(x), w, b, eps))
	case is("batch_norm2d_eval"):
		return first(compute.BatchNormEval(last(x), w, b, in["rm"], in["rv"], eps))
	case is("instance_norm"):
		return first(compute.InstanceNorm(last(x), w, b, eps))
	case is("act_"):
		return activations[strings.TrimPrefix(f.Op, "act_")](x)
	case is("attention"):
		return attention(a, in)
	case is("prelu"):
		return first(compute.PReLU(last(x), w))
	case is("snake"):
		return compute.Snake(x, in["a"])
	case is("geglu"):
		return compute.GLU(compute.MatMul(x, w, compute.MatMulOpts{TransB: true, Bias: b}), compute.ActGELU)
	case is("swiglu"):
		gate := compute.MatMul(x, in["g"], compute.MatMulOpts{TransB: true, Act: compute.ActSiLU})
		return compute.MatMul(compute.Mul(gate, compute.MatMul(x, in["u"], compute.MatMulOpts{TransB: true})), in["d"], compute.MatMulOpts{TransB: true})
	case is("linear"):
		return compute.MatMul(x, w, compute.MatMulOpts{TransB: true, Bias: b})
	case is("bmm"):
		return compute.MatMul(in["a"], b, compute.MatMulOpts{})
	case is("weight_norm_convT1d"):
		v := compute.WeightNorm(in["v"], in["g"], 0)
		return convTranspose(attrs{"stride": 2.0, "padding": 1.0}, 1, operands{"x": x, "w": v, "b": b})
	case is("weight_norm_conv1d"):
		return first(compute.Conv1D(last(x), last(compute.WeightNorm(in["v"], in["g"], 0)), convOpts(attrs{"padding": 1.0}, 1, b)))
	}
	return nil
}

// setting finds the letters and numbers by which the names of ops tell their settings, such as k3s2p1.
var setting = regexp.MustCompile(`([a-z]*)(\d+)`)

// numbersInName are all numbers in an op's name, in order.
func (f *fixture) numbersInName() (list []int) {
	for _, m := range setting.FindAllStringSubmatch(f.Op, -1) {
		n, _ := strconv.Atoi(m[2])
		list = append(list, n)
	}
	return list
}

// factor is the last number in an op's name.
func (f *fixture) factor() int {
	all := f.numbersInName()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1]
}

// window is a pool's kernel k, stride s and padding p, as its name tells: the stride is the kernel where there is none.
func (f *fixture) window() (o compute.PoolOpts) {
	for _, m := range setting.FindAllStringSubmatch(f.Op, -1) {
		n, _ := strconv.Atoi(m[2])
		switch both := [2]int{n, n}; m[1] {
		case "k":
			o.Kernel, o.Stride = both, both
		case "s":
			o.Stride = both
		case "p":
			o.Pad = both
		}
	}
	return o
}

// buildPicture is resizing, pooling and padding.
func buildPicture(f fixture, in operands) *compute.Tensor {
	a, x := f.Attrs, in["x"]
	corners, _ := a["align_corners"].(bool)
	var h, w int
	if x != nil && len(x.Shape()) == 4 {
		h, w = 2*x.Dim(2), 2*x.Dim(3)
		if _, ok := a["size"]; ok {
			size := a.numbers("size", 2, 0)
			h, w = size[0], size[1]
		}
	}
	is := func(prefix string) bool { return strings.HasPrefix(f.Op, prefix) }
	switch {
	case is("upsample_nearest1d"):
		one := compute.Reshape(x, x.Dim(0), x.Dim(1), 1, x.Dim(2))
		y := first(compute.ResizeNearest(last(one), 1, 2*x.Dim(2)))
		return compute.Reshape(y, x.Dim(0), x.Dim(1), 2*x.Dim(2))
	case is("upsample_nearest"), is("downsample_nearest"):
		return first(compute.ResizeNearest(last(x), h, w))
	case is("upsample_bilinear"):
		return first(compute.ResizeBilinear(last(x), h, w, corners))
	case is("upsample_bicubic"):
		return first(compute.ResizeBicubic(last(x), h, w, corners))
	case is("downsample_bilinear_antialias"):
		return first(compute.ResizeAntialias(last(x), h, w))
	case is("avg_pool2d"):
		return first(compute.AvgPool2D(last(x), f.window()))
	case is("max_pool2d"):
		return first(compute.MaxPool2D(last(x), f.window()))
	case is("adaptive_avg_pool2d"):
		size := f.numbersInName()
		if len(size) < 2 {
			return nil
		}
		return first(compute.AdaptiveAvgPool2D(last(x), size[len(size)-2], size[len(size)-1]))
	case is("pixel_shuffle"):
		return first(compute.PixelShuffle(last(x), f.factor()))
	case is("pixel_unshuffle"):
		return first(compute.PixelUnshuffle(last(x), f.factor()))
	case is("reflect_pad1d"):
		p := a.numbers("pad", 2, 0)
		return compute.PadReflect(x, 2, p[0], p[1])
	case is("reflect_pad2d"):
		p := a.numbers("pad_lrtb", 4, 0)
		return compute.PadReflect(compute.PadReflect(x, 3, p[0], p[1]), 2, p[2], p[3])
	case is("replicate_pad2d"):
		p := a.numbers("pad_lrtb", 4, 0)
		return compute.PadReplicate(compute.PadReplicate(x, 3, p[0], p[1]), 2, p[2], p[3])
	}
	return nil
}

func buildLoss(f fixture, in operands) *compute.Tensor {
	a, x, t := f.Attrs, in["x"], in["t"]
	is := func(prefix string) bool { return strings.HasPrefix(f.Op, prefix) }
	switch {
	case is("cross_entropy"):
		return nn.CrossEntropy(x, targets(a, x.Graph()), a.number("label_smoothing", 0))
	case is("mse"):
		return nn.MSE(x, t)
	case is("l1"):
		return nn.L1(x, t)
	case is("smooth_l1"):
		return nn.SmoothL1(x, t, 1)
	case is("huber"):
		return nn.Huber(x, t, a.number("delta", 1))
	case is("bce_with_logits"):
		return nn.BCEWithLogits(x, t)
	case is("kl_normal"):
		return nn.KLNormal(in["mean"], in["logvar"])
	}
	return nil
}

func buildOther(f fixture, in operands) *compute.Tensor {
	x := in["x"]
	is := func(prefix string) bool { return strings.HasPrefix(f.Op, prefix) }
	switch {
	case is("softmax"):
		return compute.Softmax(x)
	case is("log_softmax"):
		return compute.LogSoftmax(x)
	case is("embedding"):
		return compute.Embedding(in["w"], in["ids"])
	case is("cumsum"):
		return compute.CumSum(x, -1)
	case is("mean_dims"):
		return compute.Mean(x, false, 2, 3)
	case is("var_unbiased"):
		return compute.Variance(x, true, false, -1)
	case is("l2_normalize"):
		return compute.L2Normalize(x, -1, 1e-12)
	case is("rope_half"):
		return compute.RotaryHalf(x, in["c"], in["s"])
	case is("straight_through_quantise"):
		quantised := compute.Affine(compute.Round(compute.Affine(x, 4, 0)), 0.25, 0)
		return compute.Add(x, compute.Detach(compute.Sub(quantised, x)))
	case is("broadcast_mul_add"):
		return compute.Add(compute.Mul(in["a"], in["b"]), in["c"])
	case is("permute_reshape_slice_cat"):
		a := in["a"]
		flat := compute.Reshape(compute.Permute(a, 0, 2, 1), a.Dim(0), -1)
		return compute.Concat(1, compute.Slice(flat, 1, 1, 9), in["b"])
	}
	return nil
}

// Ops computes every op of a manifest, an ops.json, from its inputs <op>/<input> and upstream gradients <op>/dy, dy1 …, and gives
// its results <op>/y, y1 … and gradients <op>/d_<input>. Ops that cannot be computed are left out; the error names them all.
func Ops(ctx context.Context, dev compute.Device, manifest []byte, in checkpoint.Tensors) ([]checkpoint.Tensor, error) {
	var fixtures []fixture
	if err := json.Unmarshal(manifest, &fixtures); err != nil {
		return nil, fmt.Errorf("the list of ops cannot be read: %w", err)
	}
	var out []checkpoint.Tensor
	var failed []error
	for _, f := range fixtures {
		ts, err := f.run(ctx, dev, in)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("the op %s: %w", f.Op, err))
		}
		out = append(out, ts...)
	}
	return out, errors.Join(failed...)
}

// run computes one op. An op that is given other inputs than it reads is an error, whatever part of the recording finds that out.
func (f *fixture) run(ctx context.Context, dev compute.Device, file checkpoint.Tensors) (out []checkpoint.Tensor, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("its inputs and attributes do not fit it: %v", r)
		}
	}()
	p := newProgram(file)
	in := operands{}
	for _, name := range slices.Sorted(maps.Keys(f.Inputs)) {
		in[name] = p.input(f.Op+"/"+name, name)
	}
	var loss *compute.Tensor
	for i, y := range build(*f, in) {
		if y == nil || i >= len(f.Outputs) {
			return nil, errors.New("this program has no such op, or not with so many results")
		}
		upstream := "d" + f.Outputs[i]
		part := compute.Sum(compute.Mul(y, p.input(f.Op+"/"+upstream, upstream)), false)
		if i > 0 {
			part = compute.Add(loss, part)
		}
		loss = part
		p.output(y, f.Op+"/"+f.Outputs[i], p.shapes[upstream])
	}
	var wrt []*compute.Tensor
	for _, d := range f.Grads {
		wrt = append(wrt, in[strings.TrimPrefix(d, "d_")])
	}
	for i, d := range compute.Grad(loss, wrt...) {
		p.output(d, f.Op+"/"+f.Grads[i], p.shapes[strings.TrimPrefix(f.Grads[i], "d_")])
	}
	return p.run(ctx, dev)
}
