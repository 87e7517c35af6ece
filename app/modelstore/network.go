package modelstore

import (
	"slices"
	"strings"

	"atelier/models/checkpoint"
	"atelier/models/gan"
	"atelier/models/ldm"
	"atelier/models/nn"
	"atelier/models/taesd"
)

// network is what the names and shapes in a file say about it.
type network struct {
	kind     Kind
	family   string
	variants []string
	foreign  string // what a network is that this program does not run, with its article
}

// foreigners are networks of other families, by the end of a name that only they have.
var foreigners = []struct {
	end    string
	kind   Kind
	family string
	what   string
}{
	{"double_stream_modulation_img.lin.weight", UNet, "FLUX.2", "a FLUX.2 network"},
	{"double_blocks.0.img_attn.norm.query_norm.scale", UNet, "FLUX.1", "a FLUX.1 network"},
	{"double_blocks.0.img_attn.qkv.weight", UNet, "FLUX.1", "a FLUX.1 network"},
	{"joint_blocks.0.context_block.attn.qkv.weight", UNet, "Stable Diffusion 3", "a Stable Diffusion 3 network"},
	{"transformer_blocks.0.attn.add_q_proj.weight", UNet, "", "a transformer that reads text and picture together, as FLUX, Stable Diffusion 3 and Qwen-Image are"},
	{"blocks.0.cross_attn.k_img.weight", UNet, "Wan", "a Wan video network"},
	{"blocks.0.self_attn.norm_q.weight", UNet, "Wan", "a Wan video network"},
	{"cap_embedder.1.weight", UNet, "Lumina", "a network of the Lumina family"},
	{"encoder.block.0.layer.0.SelfAttention.q.weight", TextEncoder, "T5", "a T5 text encoder"},
	{"vision_model.encoder.layers.0.self_attn.q_proj.weight", TextEncoder, "CLIP vision", "a CLIP vision encoder"},
	{"ip_adapter.1.to_k_ip.weight", Unknown, "IP-Adapter", "an IP-Adapter"},
	{"adapter.body.0.in_conv.weight", ControlNet, "T2I-Adapter", "a T2I-Adapter"},
	{"lora_controlnet", ControlNet, "ControlLoRA", "a ControlLoRA"},
	{"decoder.middle.0.residual.0.gamma", VAE, "Wan", "a Wan video autoencoder"},
	{"motion_modules.0.temporal_transformer.norm.weight", Unknown, "AnimateDiff", "an AnimateDiff motion module"},
	{"model.layers.0.self_attn.q_proj.weight", LLM, "", "a language model"},
	{"transformer.h.0.attn.c_attn.weight", LLM, "", "a language model"},
}

// examine tells what a file's tensors are.
func examine(t checkpoint.Tensors, name string) network {
	names := t.Names()
	if slices.ContainsFunc(names, isLoRA) {
		return network{kind: LoRA, family: loraFamily(t)}
	}
	for _, f := range foreigners {
		if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, f.end) && !strings.HasPrefix(n, "cond_stage_model.") }) {
			n := network{kind: f.kind, family: f.family, foreign: f.what}
			if f.kind == UNet && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "text_encoders.") || strings.HasPrefix(n, "vae.") }) {
				n.kind = Checkpoint
			}
			return n
		}
	}
	if n, ok := embeddingOf(t); ok {
		return n
	}
	s := nn.Load(name, t)
	if c := ldm.Open(t); !c.Empty() {
		return ofContents(&c, t.Metadata(), name)
	}
	if tiny := taesd.Find(s); tiny.HasEncoder || tiny.HasDecoder {
		return network{kind: TAESD, family: tinyFamily(name)}
	}
	if gan.Detect(s) {
		return network{kind: Upscaler, family: upscalerFamily(names)}
	}
	return network{kind: Unknown}
}

func isLoRA(n string) bool {
	for _, part := range []string{"lora_up.", "lora_down.", ".lora_A.", ".lora_B.", ".lora.up.", ".lora.down.", "_lora.up.", "_lora.down.", "lora_linear_layer.", ".hada_w1_", ".lokr_w", ".oft_diag", ".oft_blocks"} {
		if strings.Contains(n, part) {
			return true
		}
	}
	return false
}

// loraFamily goes by the width of the text that the changed attention reads.
func loraFamily(t checkpoint.Tensors) string {
	switch base := strings.ToLower(t.Metadata()["ss_base_model_version"] + t.Metadata()["modelspec.architecture"]); {
	case strings.Contains(base, "sdxl"), strings.Contains(base, "stable-diffusion-xl"):
		return SDXL
	case strings.Contains(base, "sd_v2"), strings.Contains(base, "stable-diffusion-v2"):
		return SD2
	case strings.Contains(base, "sd_v1"), strings.Contains(base, "sd_1"), strings.Contains(base, "stable-diffusion-v1"):
		return SD1
	case strings.Contains(base, "flux"):
		return "FLUX.1"
	case strings.Contains(base, "sd3"):
		return "Stable Diffusion 3"
	}
	for _, n := range t.Names() {
		switch {
		case strings.HasPrefix(n, "lora_te2_"), strings.HasPrefix(n, "text_encoder_2."):
			return SDXL
		case strings.Contains(n, "double_blocks"), strings.Contains(n, "single_transformer_blocks"):
			return "FLUX.1"
		}
		if !strings.Contains(n, "attn2") || !strings.Contains(n, "to_k") {
			continue
		}
		if !strings.Contains(n, "down") && !strings.Contains(n, "lora_A") {
			continue
		}
		if x, _ := t.Get(n); len(x.Shape) >= 2 {
			return contextFamily(x.Shape[1])
		}
	}
	return ""
}

// contextFamily is the family whose denoiser reads text of this width.
func contextFamily(width int) string {
	return map[int]string{768: SD1, 1024: SD2, 2048: SDXL, 1280: Refiner}[width]
}

// embeddingOf knows textual inversions in their three forms.
func embeddingOf(t checkpoint.Tensors) (network, bool) {
	names := t.Names()
	const words = 64 // that one file may define
	if len(names) == 0 || len(names) > words {
		return network{}, false
	}
	family := ""
	for _, n := range names {
		if strings.HasPrefix(n, "string_to_token") {
			continue
		}
		x, _ := t.Get(n)
		known := n == "emb_params" || n == "clip_l" || n == "clip_g" || strings.HasPrefix(n, "string_to_param") || !strings.Contains(n, ".")
		real := x.DType == checkpoint.F32 || x.DType == checkpoint.F16 || x.DType == checkpoint.BF16
		if !known || !real || len(x.Shape) != 1 && len(x.Shape) != 2 || len(x.Shape) == 2 && (x.Shape[0] > 75 || x.Shape[0] >= x.Shape[1]) {
			return network{}, false
		}
		switch width := x.Shape[len(x.Shape)-1]; {
		case n == "clip_g":
			return network{kind: Embedding, family: SDXL}, true
		case family == "" && width != 2048:
			family = contextFamily(width)
		}
	}
	return network{kind: Embedding, family: family}, true
}

func tinyFamily(name string) string {
	switch name = strings.ToLower(name); {
	case strings.Contains(name, "xl"):
		return SDXL
	case strings.Contains(name, "taesd3"):
		return "Stable Diffusion 3"
	case strings.Contains(name, "taef1"):
		return "FLUX.1"
	case strings.Contains(name, "taef2"):
		return "FLUX.2"
	}
	return SD1
}

func upscalerFamily(names []string) string {
	if slices.ContainsFunc(names, func(n string) bool {
		return strings.Contains(strings.ToLower(n), "rdb") || strings.Contains(n, "sub.0.")
	}) {
		return "RRDB"
	}
	return "SRVGG compact"
}

// ofContents names the family of the networks of one file.
func ofContents(c *ldm.Contents, metadata map[string]string, name string) network {
	var n network
	switch {
	case c.ControlNet != nil && c.UNet == nil:
		n.kind = ControlNet
		n.family = denoiserFamily(c.ControlNet, nil)
	case c.UNet != nil && (c.VAE != nil || c.Text != nil || c.Text2 != nil):
		n.kind = Checkpoint
	case c.UNet != nil:
		n.kind = UNet
	case c.VAE != nil && c.Text == nil:
		n.kind, n.family = VAE, vaeFamily(c.VAE, metadata, name)
	default:
		n.kind, n.family = TextEncoder, textFamily(c)
	}
	if c.UNet != nil {
		n.family = denoiserFamily(c.UNet, c)
		n.variants = variantsOf(c, metadata, name)
	}
	return n
}

// denoiserFamily goes by the width of the text that a network reads, and, in networks of other widths, by what it has.
func denoiserFamily(v *ldm.View, c *ldm.Contents) string {
	for _, name := range v.Names() {
		if strings.HasSuffix(name, "attn2.to_k.weight") {
			if x, _ := v.Get(name); len(x.Shape) >= 2 && contextFamily(x.Shape[1]) != "" {
				return contextFamily(x.Shape[1])
			}
			break
		}
	}
	if _, sized := v.Get("add_embedding.linear_1.weight"); sized || c != nil && c.Text2 != nil {
		return SDXL
	}
	if c != nil && c.Text != nil && c.Text.Kind == ldm.OpenCLIP {
		return SD2
	}
	return SD1
}

func variantsOf(c *ldm.Contents, metadata map[string]string, name string) []string {
	var list []string
	if in, _ := c.UNet.Get("conv_in.weight"); len(in.Shape) == 4 {
		switch in.Shape[1] {
		case 9:
			list = append(list, "inpainting")
		case 8:
			list = append(list, "instruct")
		}
	}
	if _, guided := c.UNet.Get("time_embedding.cond_proj.weight"); guided {
		list = append(list, "LCM")
	}
	prediction := metadata["modelspec.prediction_type"]
	if c.Marked("v_pred") || prediction == "v" || prediction == "v_prediction" {
		list = append(list, "v-prediction")
	}
	if c.Marked("ztsnr") {
		list = append(list, "zero-terminal SNR")
	}
	for _, said := range []string{metadata["modelspec.architecture"], metadata["modelspec.title"], name} {
		if strings.Contains(strings.ToLower(said), "turbo") {
			return append(list, "Turbo")
		}
	}
	return list
}

func vaeFamily(v *ldm.View, metadata map[string]string, name string) string {
	in, _ := v.Get("decoder.conv_in.weight")
	said := strings.ToLower(metadata["modelspec.architecture"] + " " + name)
	switch {
	case len(in.Shape) == 4 && in.Shape[1] == 16:
		return "FLUX.1 or Stable Diffusion 3"
	case strings.Contains(said, "xl"):
		return SDXL
	}
	return SD1
}

func textFamily(c *ldm.Contents) string {
	t := c.Text
	if t == nil {
		t = c.Text2
	}
	x, _ := t.Get("text_model.embeddings.token_embedding.weight")
	if len(x.Shape) == 2 {
		switch x.Shape[1] {
		case 768:
			return "CLIP ViT-L"
		case 1024:
			return "OpenCLIP ViT-H"
		case 1280:
			return "OpenCLIP ViT-bigG"
		}
	}
	return "CLIP"
}
