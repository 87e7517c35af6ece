package training

// New is a recipe for a kind with everything filled in, so that it can be started as it is: for a window's first page and for
// train --new. An empty base is the built-in model, where the kind needs one.
func New(kind, name, data, base string) (Recipe, error) {
	r := Recipe{Kind: kind, Name: name, Base: base, Seed: 1, Data: Data{Path: data}}
	k, err := kindOf(kind)
	if err != nil {
		return r, err
	}
	small := k.needsBase && (base == "" || base == builtIn)
	switch kind {
	case "lora":
		r.Data.Trigger, r.Data.Augment.Mirror = name, true
		if small { // a small network needs, and bears, larger steps
			r.Data.TriggerLast = true // where it knows words of style from
			r.Train.Rate, r.Train.Batch, r.Train.Steps, r.LoRA.Alpha = 1e-3, 4, 400, 16
			r.LoRA.Targets = []string{"to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2"}
		}
		r.Train.Warmup = 20
	case "textual_inversion":
		r.Data.Augment.Mirror = true
	case "latent_diffusion", "rectified_flow":
		r.Data.Augment.Mirror, r.Train.EMA, r.Train.Warmup = true, 0.999, 100
	case "gan", "conditional_vae", "flow":
		r.Train.EMA, r.Train.Warmup = 0.995, 50
	case "autoencoder":
		r.Data.Augment.Mirror, r.Train.EMA, r.Train.Warmup = true, 0.999, 100
	}
	return r.Fill()
}
