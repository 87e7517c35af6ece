package unet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Config is what a denoiser's config.json says, every per-block setting spelled out.
type Config struct {
	SampleSize              int // latent height and width that the model was trained at
	InChannels, OutChannels int
	DownBlocks, UpBlocks    []string // block types
	MidBlock                string   // "" for none
	Channels                []int    // of each down block
	Layers                  []int    // resnets of each down block; up blocks have one more
	Heads                   []int    // attention heads of each down block
	Transformers            []int    // transformer blocks in each attention of each down block
	UpTransformers          []int    // the same of each up block
	ContextDim              []int    // width of the text's states at each down block
	Groups                  int
	Eps                     float64
	FlipSinToCos            bool
	FreqShift               float64
	DownsamplePadding       int
	LinearProjection        bool
	CenterInput             bool

	TextTime     bool // pooled text and sizes are added to the time embedding (SDXL)
	SizeDim      int  // columns that each of the sizes is embedded in
	AdditionDim  int  // columns of pooled text and embedded sizes together
	GuidanceDim  int  // columns of an embedded guidance scale (latent consistency models); 0 for none
	Class        ClassEmbedding
	ClassCount   int   // classes of a table
	ClassDim     int   // columns of a projected class vector
	HintChannels []int // of a ControlNet's embedding of its picture; nil in denoisers
	HintIn       int   // channels of that picture
}

// ClassEmbedding is how a denoiser takes class labels.
type ClassEmbedding string

// Class embeddings: none, a table of rows, a number treated as a timestep, a vector of the time embedding's width as it is,
// or a vector through a projection of two layers or of one.
const (
	NoClass           ClassEmbedding = ""
	ClassTable        ClassEmbedding = "table"
	ClassTimestep     ClassEmbedding = "timestep"
	ClassIdentity     ClassEmbedding = "identity"
	ClassProjection   ClassEmbedding = "projection"
	ClassSimpleLinear ClassEmbedding = "simple_projection"
)

// Block types.
const (
	downBlock      = "DownBlock2D"
	crossDownBlock = "CrossAttnDownBlock2D"
	upBlock        = "UpBlock2D"
	crossUpBlock   = "CrossAttnUpBlock2D"
	crossMidBlock  = "UNetMidBlock2DCrossAttn"
)

// ints reads a number, or a list with one for each block.
type ints []int

// UnmarshalJSON accepts 8, [5, 10, 20, 20] and null.
func (v *ints) UnmarshalJSON(data []byte) error {
	var list []int
	if json.Unmarshal(data, &list) == nil {
		*v = list
		return nil
	}
	var one int
	if err := json.Unmarshal(data, &one); err != nil {
		return fmt.Errorf("%s is neither a whole number nor a list of them", data)
	}
	*v = ints{one}
	return nil
}

// spread gives each of n blocks its own number, from 1 to most.
func (v ints) spread(name string, n, most int) ([]int, error) {
	out := make([]int, n)
	for i := range out {
		switch len(v) {
		case 1:
			out[i] = v[0]
		case n:
			out[i] = v[i]
		default:
			return nil, fmt.Errorf("%s has %d entries for %d blocks", name, len(v), n)
		}
		if out[i] <= 0 || out[i] > most {
			return nil, fmt.Errorf("%s has an entry %d; 1 to %d is possible", name, out[i], most)
		}
	}
	return out, nil
}

// file mirrors config.json of UNet2DConditionModel.
type file struct {
	SampleSize        json.RawMessage `json:"sample_size"`
	InChannels        int             `json:"in_channels"`
	OutChannels       int             `json:"out_channels"`
	DownBlocks        []string        `json:"down_block_types"`
	UpBlocks          []string        `json:"up_block_types"`
	MidBlock          *string         `json:"mid_block_type"`
	Channels          ints            `json:"block_out_channels"`
	Layers            ints            `json:"layers_per_block"`
	HeadDim           ints            `json:"attention_head_dim"`
	Heads             ints            `json:"num_attention_heads"`
	Transformers      ints            `json:"transformer_layers_per_block"`
	UpTransformers    ints            `json:"reverse_transformer_layers_per_block"`
	ContextDim        ints            `json:"cross_attention_dim"`
	Groups            int             `json:"norm_num_groups"`
	Eps               float64         `json:"norm_eps"`
	FlipSinToCos      bool            `json:"flip_sin_to_cos"`
	FreqShift         float64         `json:"freq_shift"`
	DownsamplePadding int             `json:"downsample_padding"`
	LinearProjection  bool            `json:"use_linear_projection"`
	CenterInput       bool            `json:"center_input_sample"`
	Addition          *string         `json:"addition_embed_type"`
	SizeDim           *int            `json:"addition_time_embed_dim"`
	ProjectionDim     *int            `json:"projection_class_embeddings_input_dim"`
	GuidanceDim       *int            `json:"time_cond_proj_dim"`
	Class             *string         `json:"class_embed_type"`
	ClassCount        *int            `json:"num_class_embeds"`
	HintChannels      ints            `json:"conditioning_embedding_out_channels"`
	HintIn            int             `json:"conditioning_channels"`
}

// plain lists settings under which the network has parts that this package does not build, with the value that adds nothing.
var plain = map[string][]string{
	"act_fn": {`"silu"`, `"swish"`}, "addition_embed_type": {"null", `"text_time"`}, "encoder_hid_dim": {"null"},
	"encoder_hid_dim_type": {"null"}, "time_embedding_type": {`"positional"`}, "time_embedding_dim": {"null"},
	"time_embedding_act_fn": {"null"}, "timestep_post_act": {"null"}, "resnet_time_scale_shift": {`"default"`},
	"controlnet_conditioning_channel_order": {`"rgb"`}, "global_pool_conditions": {"false"},
	"dual_cross_attention": {"false"}, "only_cross_attention": {"false"}, "mid_block_only_cross_attention": {"null", "false"},
	"resnet_out_scale_factor": {"1", "1.0"}, "mid_block_scale_factor": {"1", "1.0"}, "resnet_skip_time_act": {"false"}, "class_embeddings_concat": {"false"},
	"cross_attention_norm": {"null"}, "attention_type": {`"default"`}, "conv_in_kernel": {"3"}, "conv_out_kernel": {"3"},
}

// defaults are the values of UNet2DConditionModel.
func defaults() file {
	mid := crossMidBlock
	return file{
		InChannels: 4, OutChannels: 4, MidBlock: &mid, FlipSinToCos: true, DownsamplePadding: 1, Groups: 32, Eps: 1e-5,
		DownBlocks: []string{crossDownBlock, crossDownBlock, crossDownBlock, downBlock},
		UpBlocks:   []string{upBlock, crossUpBlock, crossUpBlock, crossUpBlock},
		Channels:   ints{320, 640, 1280, 1280}, Layers: ints{2}, HeadDim: ints{8}, Transformers: ints{1}, ContextDim: ints{1280},
	}
}

// ParseConfig reads the config.json of a denoiser; what it leaves out has the values of UNet2DConditionModel.
func ParseConfig(data []byte) (Config, error) { return parse(defaults(), data, "denoiser") }

func parse(f file, data []byte, what string) (Config, error) {
	var all map[string]json.RawMessage
	err := json.Unmarshal(data, &f)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err == nil {
		err = checkPlain(all)
	}
	var c Config
	if err == nil {
		c, err = f.config()
	}
	if err != nil {
		return c, fmt.Errorf("the %s's config.json: %w", what, err)
	}
	return c, nil
}

func checkPlain(all map[string]json.RawMessage) error {
	for name, values := range plain {
		v, ok := all[name]
		if !ok {
			continue
		}
		known := false
		for _, want := range values {
			known = known || strings.TrimSpace(string(v)) == want
		}
		if !known {
			return fmt.Errorf("%s is %s, and this program knows networks with %s only", name, v, strings.Join(values, " or "))
		}
	}
	return nil
}

func (f *file) config() (Config, error) {
	c := Config{
		InChannels: f.InChannels, OutChannels: f.OutChannels, DownBlocks: f.DownBlocks, UpBlocks: f.UpBlocks, Channels: f.Channels,
		Groups: f.Groups, Eps: f.Eps, FlipSinToCos: f.FlipSinToCos, FreqShift: f.FreqShift,
		DownsamplePadding: f.DownsamplePadding, LinearProjection: f.LinearProjection, CenterInput: f.CenterInput,
	}
	var size ints
	if json.Unmarshal(f.SampleSize, &size) == nil && len(size) > 0 {
		c.SampleSize = size[0]
	}
	if f.MidBlock != nil {
		c.MidBlock = *f.MidBlock
	}
	n := len(c.DownBlocks)
	if c.HintChannels = f.HintChannels; len(c.HintChannels) > 0 { // a ControlNet has no way up
		if c.HintIn = f.HintIn; c.HintIn <= 0 || len(c.HintChannels) > 16 || slices.Min(c.HintChannels) <= 0 || slices.Max(c.HintChannels) > 1<<16 {
			return c, fmt.Errorf("conditioning_channels %d and conditioning_embedding_out_channels %v do not make a network", c.HintIn, c.HintChannels)
		}
		c.UpBlocks = slices.Repeat([]string{upBlock}, n)
	}
	if n == 0 || len(c.UpBlocks) != n || len(c.Channels) != n || n > 16 {
		return c, fmt.Errorf("it lists %d down blocks, %d up blocks and %d channel counts; as many of each are wanted", n, len(c.UpBlocks), len(c.Channels))
	}
	heads := f.Heads // where absent, the older name, which in spite of it holds the number of heads
	if len(heads) == 0 {
		heads = f.HeadDim
	}
	if len(f.UpTransformers) == 0 {
		for i := len(f.Transformers) - 1; i >= 0; i-- {
			f.UpTransformers = append(f.UpTransformers, f.Transformers[i])
		}
	}
	const wide, deep = 1 << 16, 64 // bounds that no sound network reaches
	for _, l := range []struct {
		name string
		from ints
		most int
		to   *[]int
	}{
		{"block_out_channels", f.Channels, wide, &c.Channels}, {"layers_per_block", f.Layers, deep, &c.Layers}, {"attention_head_dim", heads, wide, &c.Heads},
		{"transformer_layers_per_block", f.Transformers, deep, &c.Transformers}, {"reverse_transformer_layers_per_block", f.UpTransformers, deep, &c.UpTransformers},
		{"cross_attention_dim", f.ContextDim, wide, &c.ContextDim},
	} {
		list, err := l.from.spread(l.name, n, l.most)
		if err != nil {
			return c, err
		}
		*l.to = list
	}
	if err := c.conditions(f); err != nil {
		return c, err
	}
	return c, c.check()
}

// conditions reads what else the time embedding takes.
func (c *Config) conditions(f *file) error {
	number := func(p *int) int {
		if p == nil {
			return 0
		}
		return *p
	}
	const wide = 1 << 16
	c.SizeDim, c.GuidanceDim, c.ClassCount = number(f.SizeDim), number(f.GuidanceDim), number(f.ClassCount)
	projected := number(f.ProjectionDim)
	for _, v := range []int{c.SizeDim, c.GuidanceDim, c.ClassCount, projected} {
		if v < 0 || v > wide {
			return fmt.Errorf("an embedding has %d columns or rows; at most %d are possible", v, wide)
		}
	}
	if f.Addition != nil {
		if c.TextTime, c.AdditionDim = true, projected; c.SizeDim < 2 || projected <= c.SizeDim {
			return fmt.Errorf("addition_embed_type text_time with addition_time_embed_dim %d and projection_class_embeddings_input_dim %d does not make an embedding", c.SizeDim, projected)
		}
	}
	switch {
	case f.Class == nil && c.ClassCount > 0:
		c.Class = ClassTable
	case f.Class == nil:
	default:
		switch c.Class = ClassEmbedding(*f.Class); c.Class {
		case ClassTimestep, ClassIdentity:
		case ClassProjection, ClassSimpleLinear:
			if c.ClassDim = projected; projected == 0 {
				return fmt.Errorf("class_embed_type %s needs projection_class_embeddings_input_dim", c.Class)
			}
		default:
			return fmt.Errorf("class_embed_type %q is not known", *f.Class)
		}
	}
	return nil
}

func (c *Config) check() error {
	if c.Groups <= 0 || c.InChannels <= 0 || c.OutChannels <= 0 || c.DownsamplePadding < 0 || c.DownsamplePadding > 1 {
		return fmt.Errorf("norm_num_groups %d, in_channels %d, out_channels %d and downsample_padding %d do not make a network", c.Groups, c.InChannels, c.OutChannels, c.DownsamplePadding)
	}
	for i, ch := range c.Channels {
		if ch%c.Groups != 0 {
			return fmt.Errorf("block_out_channels has %d, which norm_num_groups %d does not divide", ch, c.Groups)
		}
		if ch%c.Heads[i] != 0 {
			return fmt.Errorf("block_out_channels has %d, which %d attention heads do not divide", ch, c.Heads[i])
		}
		if t := c.DownBlocks[i]; t != downBlock && t != crossDownBlock {
			return fmt.Errorf("block type %q is not known; %s and %s are", t, downBlock, crossDownBlock)
		}
		if t := c.UpBlocks[i]; t != upBlock && t != crossUpBlock {
			return fmt.Errorf("block type %q is not known; %s and %s are", t, upBlock, crossUpBlock)
		}
	}
	if c.MidBlock != "" && c.MidBlock != crossMidBlock {
		return fmt.Errorf("block type %q is not known; %s is", c.MidBlock, crossMidBlock)
	}
	return nil
}

// Skips is the channels of every skip, conv_in's first, which is also those of a ControlNet's residuals.
func (c *Config) Skips() []int {
	skips := []int{c.Channels[0]}
	for i, ch := range c.Channels {
		n := c.Layers[i]
		if i < len(c.Channels)-1 {
			n++ // the downsampler
		}
		skips = append(skips, slices.Repeat([]int{ch}, n)...)
	}
	return skips
}

// Levels is how many times latents are halved on the way down.
func (c *Config) Levels() int { return len(c.Channels) - 1 }
