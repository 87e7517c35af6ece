package unet

import (
	"fmt"

	"atelier/models/nn"
)

// Hints are what the shapes of a network's tensors don't tell, from what is found beside it.
type Hints struct {
	Pooled    int    // columns of the pooled text that it reads; 0 where unknown
	Overrides []byte // JSON in the form of config.json that goes before all else; nil says nothing
}

// Widths of the text's states, by which families are told apart.
const (
	contextSD1, contextSD2, contextXL, contextRefiner = 768, 1024, 2048, 1280
	headsSD1                                          = 8  // at every level
	headDim                                           = 64 // of the later families
	narrowHeadDim                                     = 8  // of networks too narrow for those
	sizesXL                                           = 6
)

// Infer takes a denoiser's configuration from the shapes of its tensors. What they don't tell comes from the family:
// Stable Diffusion 1 has eight attention heads at each level, later ones have heads of 64 columns. A family is known by the
// width of its text's states; networks of other widths go by whether the projections round their transformers are
// convolutions, as in the first, or matrices.
func Infer(s *nn.Scope, h Hints) (Config, error) {
	return infer(s, h, defaults(), "denoiser")
}

func infer(s *nn.Scope, h Hints, f file, what string) (Config, error) {
	if err := f.shapes(s); err != nil {
		return Config{}, fmt.Errorf("the %s is not one that this program knows: %w", what, err)
	}
	f.conditionShapes(s, h)
	overrides := h.Overrides
	if overrides == nil {
		overrides = []byte("{}")
	}
	return parse(f, overrides, what)
}

// shapes reads the blocks from the tensors that are there.
func (f *file) shapes(s *nn.Scope) error {
	in, context := s.Shape("conv_in.weight"), 0
	if len(in) != 4 {
		return fmt.Errorf("conv_in.weight is missing or no convolution")
	}
	f.InChannels = in[1]
	if out := s.Shape("conv_out.weight"); len(out) == 4 {
		f.OutChannels = out[0]
	}
	f.DownBlocks, f.UpBlocks, f.Channels, f.Layers, f.Transformers = nil, nil, nil, nil, nil
	const most = 16
	for i := 0; i < most; i++ {
		b := s.At("down_blocks", i)
		conv := b.Shape("resnets.0.conv1.weight")
		if len(conv) != 4 {
			break
		}
		f.Channels = append(f.Channels, conv[0])
		f.Layers = append(f.Layers, count(b, "resnets.%d.conv1.weight"))
		depth, width := attentions(b)
		if depth > 0 {
			f.DownBlocks = append(f.DownBlocks, crossDownBlock)
		} else {
			f.DownBlocks = append(f.DownBlocks, downBlock)
		}
		f.Transformers, context = append(f.Transformers, max(depth, 1)), max(context, width)
	}
	n := len(f.Channels)
	if n == 0 {
		return fmt.Errorf("down_blocks.0.resnets.0.conv1.weight is missing or no convolution")
	}
	middle, width := attentions(s.At("mid_block"))
	if context = max(context, width); middle == 0 {
		f.MidBlock = nil
	} else if f.DownBlocks[n-1] == downBlock {
		f.Transformers[n-1] = middle
	}
	for i := range n {
		kind, d := upBlock, n-1-i
		depth, width := attentions(s.At("up_blocks", i))
		if depth > 0 {
			kind = crossUpBlock
		} else {
			depth = f.Transformers[d]
		}
		f.UpBlocks, f.UpTransformers, context = append(f.UpBlocks, kind), append(f.UpTransformers, depth), max(context, width)
	}
	if context == 0 {
		return fmt.Errorf("it has no attention to a text")
	}
	f.ContextDim = ints{context}
	f.heads(s, context)
	return nil
}

func (f *file) heads(s *nn.Scope, context int) {
	later := len(s.Shape("mid_block.attentions.0.proj_in.weight")) == 2
	switch context {
	case contextSD1:
		later = false
	case contextSD2, contextXL, contextRefiner:
		later = true
	}
	if f.LinearProjection = later; !later {
		f.HeadDim = ints{headsSD1}
		return
	}
	dim := headDim
	if f.Channels[0]%headDim != 0 {
		dim = narrowHeadDim
	}
	f.HeadDim = nil
	for _, ch := range f.Channels {
		f.HeadDim = append(f.HeadDim, max(1, ch/dim))
	}
}

// count is how many tensors there are whose names differ in a number that counts from 0.
func count(s *nn.Scope, format string) int {
	const most = 64
	n := 0
	for n < most && s.Shape(fmt.Sprintf(format, n)) != nil {
		n++
	}
	return n
}

// attentions gives a block's transformer blocks in each attention, 0 for none, and the width of the text's states.
func attentions(b *nn.Scope) (depth, context int) {
	depth = count(b, "attentions.0.transformer_blocks.%d.norm1.weight")
	if k := b.Shape("attentions.0.transformer_blocks.0.attn2.to_k.weight"); len(k) >= 2 {
		context = k[1]
	}
	return depth, context
}

// conditionShapes reads what the time embedding takes beside the timestep.
func (f *file) conditionShapes(s *nn.Scope, h Hints) {
	if w := s.Shape("time_embedding.cond_proj.weight"); len(w) == 2 {
		f.GuidanceDim = &w[1]
	}
	if w := s.Shape("add_embedding.linear_1.weight"); len(w) == 2 {
		kind, dim := "text_time", (w[1]-h.Pooled)/sizesXL
		if h.Pooled == 0 || dim < 1 { // as many columns for each size, a power of two, as there is room for: 256 of 2816
			for dim = 1; 2*dim*sizesXL < w[1]; dim *= 2 {
			}
		}
		f.Addition, f.SizeDim, f.ProjectionDim = &kind, &dim, &w[1]
	}
	if w := s.Shape("class_embedding.weight"); len(w) == 2 {
		if time := s.Shape("time_embedding.linear_2.weight"); s.Shape("class_embedding.bias") != nil {
			kind := string(ClassSimpleLinear)
			f.Class, f.ProjectionDim = &kind, &w[1]
		} else if len(time) == 2 && w[1] == time[0] {
			f.ClassCount = &w[0]
		}
	}
	if w := s.Shape("class_embedding.linear_1.weight"); len(w) == 2 {
		kind := string(ClassProjection)
		f.Class, f.ProjectionDim = &kind, &w[1]
	}
}
