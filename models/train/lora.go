package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/nn"
)

// LoRA is low-rank adapters (Hu et al. 2021) to frozen weights of a model: each weight W [out …] is seen as W + alpha/rank · up·down.
type LoRA struct {
	Rank     int
	Alpha    float64
	Adapters []*Adapter
}

// Adapter is the adapter to one weight.
type Adapter struct {
	Module string    // of the weight's layer: its name without ".weight"
	Target *nn.Param // frozen
	Down   *nn.Param // [rank …], laid out like the target
	Up     *nn.Param // [out rank]
}

// AttentionProjections are the layers that adapters to a diffusion model commonly go to.
var AttentionProjections = []string{"to_q", "to_k", "to_v", "to_out.0"}

// TextProjections are those of a CLIP text encoder.
var TextProjections = []string{"q_proj", "k_proj", "v_proj", "out_proj", "mlp.fc1", "mlp.fc2"}

// NewLoRA makes adapters to the weights among params whose layers' names end in one of targets (at a dot), down drawn from seed as
// PyTorch starts a linear layer, up zero, so that the model is at first what it was.
func NewLoRA(params []*nn.Param, targets []string, rank int, alpha float64, seed uint64) (*LoRA, error) {
	if rank < 1 || !(alpha > 0) {
		return nil, fmt.Errorf("train: a LoRA of rank %d and alpha %v is not possible: both must be above 0", rank, alpha)
	}
	l := &LoRA{Rank: rank, Alpha: alpha}
	rng := rand.New(rand.NewPCG(seed, 0x10a))
	seen := map[*nn.Param]bool{}
	for _, p := range params {
		module, ok := strings.CutSuffix(p.Name, ".weight")
		if !ok || len(p.Shape) < 2 || seen[p] || p.Transposed() || !targeted(module, targets) {
			continue
		}
		seen[p] = true
		out, in := p.Shape[0], p.Shape[1:].Size()
		if rank > min(in, out) {
			return nil, fmt.Errorf("train: a LoRA of rank %d to %s %v would be larger than the layer; the highest rank there is %d", rank, p.Name, p.Shape, min(in, out))
		}
		down, bound := make([]float32, rank*in), 1/math.Sqrt(float64(in))
		for i := range down {
			down[i] = float32((2*rng.Float64() - 1) * bound)
		}
		l.Adapters = append(l.Adapters, &Adapter{
			Module: module, Target: p, Down: p.WithRows(module+".lora_down.weight", rank, down),
			Up: nn.NewParam(module+".lora_up.weight", make([]float32, out*rank), out, rank),
		})
	}
	if len(l.Adapters) == 0 {
		return nil, fmt.Errorf("train: no layer's name ends in %s, so there is nothing to adapt", strings.Join(targets, ", "))
	}
	return l, nil
}

func targeted(module string, targets []string) bool {
	for _, t := range targets {
		if module == t || strings.HasSuffix(module, "."+t) {
			return true
		}
	}
	return false
}

// Params are what is trained.
func (l *LoRA) Params() []*nn.Param {
	var ps []*nn.Param
	for _, a := range l.Adapters {
		ps = append(ps, a.Down, a.Up)
	}
	return ps
}

// Bind makes the adapted weights stand for the frozen ones in g. It comes before the model's Forward, in a Loss and for samples.
func (l *LoRA) Bind(g *compute.Graph) {
	scale := l.Alpha / float64(l.Rank)
	for _, a := range l.Adapters {
		frozen := a.Target.InGraph(g)
		down := compute.Reshape(a.Down.InGraph(g), l.Rank, a.Target.Shape[1:].Size())
		delta := compute.Affine(compute.MatMul(a.Up.InGraph(g), down, compute.MatMulOpts{}), scale, 0)
		g.Bind(a.Target.Source, compute.Add(frozen, compute.Reshape(delta, a.Target.Shape...)))
	}
}

// Part is the part of a pipeline that adapters belong to, as kohya's keys begin.
type Part string

// Parts of Stable Diffusion's pipelines.
const (
	PartUNet         Part = "lora_unet"
	PartTextEncoder  Part = "lora_te"
	PartTextEncoder1 Part = "lora_te1" // of two
	PartTextEncoder2 Part = "lora_te2"
)

// Kohya gives trained adapters in the key layout of kohya's scripts: lora_unet_down_blocks_0_….lora_down.weight, .lora_up.weight
// and .alpha. weights are Trainer.Weights' of this LoRA's parameters.
func (l *LoRA) Kohya(part Part, weights []checkpoint.Tensor) ([]checkpoint.Tensor, error) {
	byName := map[string]checkpoint.Tensor{}
	for _, w := range weights {
		byName[w.Name] = w
	}
	var ts []checkpoint.Tensor
	for _, a := range l.Adapters {
		key := string(part) + "_" + strings.ReplaceAll(a.Module, ".", "_")
		down, ok1 := byName[a.Down.Name]
		up, ok2 := byName[a.Up.Name]
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("train: the weights lack the adapter to %s", a.Module)
		}
		down.Name, up.Name = key+".lora_down.weight", key+".lora_up.weight"
		if len(down.Shape) == 4 { // of a convolution: up is one over single pixels
			up.Shape = append(append([]int(nil), up.Shape...), 1, 1)
		}
		ts = append(ts, down, up, checkpoint.NewF32(key+".alpha", nil, []float32{float32(l.Alpha)}))
	}
	return ts, nil
}
