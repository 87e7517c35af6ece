package unet

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/ldm"
	"atelier/models/nn"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestControlGolden is the case own-controlnet, whose README says that it is our own: the residuals of a ControlNet, and what
// a denoiser makes with and without them.
func TestControlGolden(t *testing.T) {
	c, err := ParseControlConfig(read(t, "control/control.json"))
	if err != nil {
		t.Fatal(err)
	}
	control, err := NewControl(nn.Load("control", goldentest.Open(t, "control/control.safetensors")), c)
	if err != nil {
		t.Fatal(err)
	}
	config, err := ParseConfig(read(t, "control/unet.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(nn.Load("unet", goldentest.Open(t, "control/unet.safetensors")), config)
	if err != nil {
		t.Fatal(err)
	}
	in, want := goldentest.Read(t, "control/in.safetensors"), goldentest.Read(t, "control/out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		x := map[string]*compute.Tensor{}
		for name, v := range in {
			x[name] = goldentest.Input(g, feed, name, v)
		}
		both := Inputs{Sample: x["sample"], Timestep: x["timestep"], Context: x["encoder_hidden_states"]}
		g.Output("sample_alone", m.Predict(both, nil))
		both.Down, both.Mid = control.Forward(both, x["controlnet_cond"], x["conditioning_scale"], nil)
		for i, d := range both.Down {
			g.Output("down_block_res_samples."+string(rune('0'+i)), d)
		}
		g.Output("mid_block_res_sample", both.Mid)
		g.Output("sample", m.Predict(both, nil))
		got := goldentest.Run(t, dev, g, feed)
		if len(got) != len(want) {
			t.Errorf("%d results, and there are %d goldens", len(got), len(want))
		}
		goldentest.Compare(t, goldentest.Load(t, "own-controlnet"), got, want)
	})
}

// zeros is a checkpoint of zeros under given names.
type zeros map[string][]int

func (z zeros) Names() (names []string) {
	for n := range z {
		names = append(names, n)
	}
	return names
}
func (z zeros) Get(name string) (checkpoint.Tensor, bool) {
	shape, ok := z[name]
	if !ok {
		return checkpoint.Tensor{}, false
	}
	return checkpoint.Tensor{Name: name, DType: checkpoint.F16, Shape: shape, Data: make([]byte, 2*compute.Shape(shape).Size())}, true
}
func (z zeros) Metadata() map[string]string { return nil }
func (z zeros) Close() error                { return nil }

func last(names []string) string { return names[len(names)-1] }

// original is the checkpoint in the original layout that a network of the parameters of s, all missing, would have.
func original(s *nn.Scope, table *ldm.Table, prefix string) zeros {
	out := zeros{}
	for _, p := range s.Params() {
		shape := []int(p.Shape)
		if len(shape) == 4 {
			shape = []int{shape[0], shape[3], shape[1], shape[2]}
		}
		out[prefix+last(table.Originals(p.Name))] = shape
	}
	return out
}

// TestOriginalControl takes a ControlNet of the usual shape through the original layout and back by its keys and shapes.
func TestOriginalControl(t *testing.T) {
	const small = `{"block_out_channels": [32, 32, 64, 64], "layers_per_block": 2, "cross_attention_dim": 768}`
	want, err := ParseControlConfig([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	s := nn.Load("nothing", zeros{})
	if _, err := NewControl(s, want); err == nil {
		t.Fatal("nothing is a ControlNet")
	}
	file := original(s, ldm.ControlTable(4, 2), "control_model.")
	for _, name := range []string{"zero_convs.11.0.weight", "input_hint_block.14.bias", "middle_block_out.0.weight", "input_blocks.3.0.op.weight", "input_blocks.11.0.in_layers.2.weight", "time_embed.2.bias"} {
		if _, ok := file["control_model."+name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	c := ldm.Open(file)
	if c.ControlNet == nil || c.UNet != nil || len(c.Rest) > 0 {
		t.Fatalf("found %+v", c)
	}
	scope := nn.Load("file", c.ControlNet)
	got, err := InferControl(scope, Hints{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if _, err := NewControl(scope, got); err != nil {
		t.Error(err)
	}
}

// TestOriginalFamilies takes denoisers of each family's shape, narrower, through the original layout and back.
func TestOriginalFamilies(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		hints  Hints
	}{
		"1":            {`{"block_out_channels": [32, 64, 64, 64], "cross_attention_dim": 768}`, Hints{}},
		"1 inpainting": {`{"block_out_channels": [32, 64, 64, 64], "cross_attention_dim": 768, "in_channels": 9}`, Hints{}},
		"2":            {`{"block_out_channels": [64, 128, 192, 192], "cross_attention_dim": 1024, "attention_head_dim": [1, 2, 3, 3], "use_linear_projection": true}`, Hints{}},
		"XL": {`{"block_out_channels": [64, 128, 192], "cross_attention_dim": 2048, "attention_head_dim": [1, 2, 3], "use_linear_projection": true,
			"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
			"transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}`, Hints{}},
		"LCM":         {`{"block_out_channels": [32, 64, 64, 64], "cross_attention_dim": 768, "time_cond_proj_dim": 256}`, Hints{}},
		"x4 upscaler": {`{"block_out_channels": [64, 128, 128, 192], "cross_attention_dim": 1024, "in_channels": 7, "num_class_embeds": 100, "attention_head_dim": [1, 2, 2, 3], "use_linear_projection": true}`, Hints{}},
	} {
		want, err := ParseConfig([]byte(c.config))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := nn.Load("nothing", zeros{})
		if _, err := New(s, want); err == nil {
			t.Fatal("nothing is a denoiser")
		}
		found := ldm.Open(original(s, ldm.UNetTable(len(want.Channels), want.Layers[0]), "model.diffusion_model."))
		if found.UNet == nil || len(found.Rest) > 0 {
			t.Fatalf("%s: found %+v", name, found)
		}
		scope := nn.Load("file", found.UNet)
		got, err := Infer(scope, c.hints)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant %+v", name, got, want)
		}
		if _, err := New(scope, got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHalf is the case fmt-unet-fp16: a file in half precision, computed in single.
func TestHalf(t *testing.T) {
	c, err := ParseConfig(read(t, "unet_fp16/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(nn.Load("unet", goldentest.Open(t, "unet_fp16/diffusion_pytorch_model.fp16.safetensors")), c)
	if err != nil {
		t.Fatal(err)
	}
	in, want := goldentest.Read(t, "unet_fp16/in.safetensors"), goldentest.Read(t, "unet_fp16/out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		time := in["timestep"]
		if b := in["sample"].Shape[0]; len(time.Data) == 1 {
			time = goldentest.Tensor{Shape: []int{b}, Data: []float32{time.Data[0], time.Data[0]}[:b]}
		}
		g.Output("sample", m.Forward(goldentest.Input(g, feed, "sample", in["sample"]), goldentest.Input(g, feed, "timestep", time), goldentest.Input(g, feed, "context", in["encoder_hidden_states"]), nil))
		goldentest.Compare(t, goldentest.Load(t, "fmt-unet-fp16"), goldentest.Run(t, dev, g, feed), want)
	})
}

// TestConditions checks that whatever a configuration adds to the time embedding changes the answer, each by its equation: a
// table row and a projection that say the same give the same.
func TestConditions(t *testing.T) {
	const plain = `"block_out_channels": [32], "down_block_types": ["CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D"], "layers_per_block": 1,
		"cross_attention_dim": 8, "attention_head_dim": 2`
	build := func(more string) *Model {
		c, err := ParseConfig([]byte("{" + plain + more + "}"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := New(nn.Initialise(3), c)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	values := func(seed, n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(math.Sin(float64(seed + 3*i)))
		}
		return out
	}
	dev := host.New(host.Options{})
	defer dev.Close()
	for name, c := range map[string]struct {
		more string
		set  func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32)
	}{
		"table": {`, "num_class_embeds": 5`, func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32) {
			feed["class"] = []float32{map[bool]float32{false: 1, true: 4}[second]}
			in.Class = g.Input("class", 1)
		}},
		"timestep": {`, "class_embed_type": "timestep"`, func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32) {
			feed["class"] = []float32{map[bool]float32{false: 10, true: 400}[second]}
			in.Class = g.Input("class", 1)
		}},
		"identity": {`, "class_embed_type": "identity"`, func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32) {
			feed["class"] = values(map[bool]int{false: 1, true: 2}[second], 128)
			in.Class = g.Input("class", 1, 128)
		}},
		"projection": {`, "class_embed_type": "projection", "projection_class_embeddings_input_dim": 6`, func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32) {
			feed["class"] = values(map[bool]int{false: 1, true: 2}[second], 6)
			in.Class = g.Input("class", 1, 6)
		}},
		"simple": {`, "class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 6`, func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32) {
			feed["class"] = values(map[bool]int{false: 1, true: 2}[second], 6)
			in.Class = g.Input("class", 1, 6)
		}},
		"guidance": {`, "time_cond_proj_dim": 16`, func(in *Inputs, second bool, g *compute.Graph, feed map[string][]float32) {
			feed["guidance"] = GuidanceEmbedding(map[bool]float64{false: 1.5, true: 8}[second], 16)
			in.Guidance = g.Input("guidance", 1, 16)
		}},
	} {
		m := build(c.more)
		var answers [2][]float32
		for i := range answers {
			g, feed := compute.NewGraph(), map[string][]float32{"sample": values(0, 4*4*4), "time": {300}, "context": values(1, 2*8)}
			in := Inputs{Sample: g.Input("sample", 1, 4, 4, 4), Timestep: g.Input("time", 1), Context: g.Input("context", 1, 2, 8)}
			c.set(&in, i == 1, g, feed)
			g.Output("y", m.Predict(in, nil))
			answers[i] = goldentest.Run(t, dev, g, feed)["y"].Data
		}
		if reflect.DeepEqual(answers[0], answers[1]) {
			t.Errorf("%s: the condition has no effect", name)
		}
	}
}

// TestGuidanceEmbedding checks values worked out by hand.
func TestGuidanceEmbedding(t *testing.T) {
	got := GuidanceEmbedding(8.5, 4) // frequencies 1 and 1/10,000 of 7,500
	want := []float64{math.Sin(7500), math.Sin(0.75), math.Cos(7500), math.Cos(0.75)}
	for i, w := range want {
		if math.Abs(float64(got[i])-w) > 1e-5 {
			t.Errorf("element %d is %v, want %v", i, got[i], w)
		}
	}
}

// TestControlThatIsNone checks what is said of files that are cut short.
func TestControlThatIsNone(t *testing.T) {
	if _, err := InferControl(nn.Load("x", zeros{"controlnet_cond_embedding.conv_in.weight": {16, 3, 3, 3}}), Hints{}); err == nil || !strings.Contains(err.Error(), "conv_in.weight is missing") {
		t.Errorf("gives %v", err)
	}
	if _, err := ParseControlConfig([]byte(`{"conditioning_embedding_out_channels": [0]}`)); err == nil || !strings.Contains(err.Error(), "conditioning_embedding_out_channels") {
		t.Errorf("gives %v", err)
	}
}
