package pipeline

import (
	"context"
	"errors"
	"fmt"

	"atelier/compute"
)

// stage is one network of the pipeline, compiled for one size.
type stage struct {
	name   string
	plan   *compute.Plan
	loaded compute.Executable // nil while the device does not hold it
}

// setting is what plans are compiled for.
type setting struct {
	h, w   int  // latents
	guided bool // the denoiser runs the unconditional half beside the conditional one
}

// rows is the batch of the text encoder and of the denoiser.
func (s setting) rows() int {
	if s.guided {
		return 2
	}
	return 1
}

// stages is all plans of a setting.
type stages struct {
	setting
	text, denoise, decode *stage
	upscale               *stage // nil without an upscaler
	together              bool   // the device holds all of them at once
	wide                  bool   // the device keeps half-precision parameters as float32, as definitions want them
}

func (s *stages) all() []*stage {
	var list []*stage
	for _, st := range []*stage{s.text, s.denoise, s.decode, s.upscale} {
		if st != nil {
			list = append(list, st)
		}
	}
	return list
}

// compile makes the plans of a setting. Nothing is allocated on the device.
func (p *parts) compile(lim compute.Limits, s setting) (*stages, error) {
	out := &stages{setting: s, wide: !lim.Shaders}
	tokens, z := p.text.MaxPositions, p.vae.LatentChannels
	for _, b := range []struct {
		to    **stage
		name  string
		want  bool
		build func(g *compute.Graph)
	}{
		{&out.text, "text encoder", true, func(g *compute.Graph) {
			g.Output("states", p.text.Forward(g.Input("ids", s.rows(), tokens), nil).Last)
		}},
		{&out.denoise, "denoiser", true, func(g *compute.Graph) {
			n := s.rows()
			g.Output("prediction", p.unet.Forward(g.Input("sample", n, s.h, s.w, z), g.Input("timestep", n), g.Input("context", n, tokens, p.text.HiddenSize), nil))
		}},
		{&out.decode, "decoder", true, func(g *compute.Graph) {
			g.Output("picture", p.vae.Decode(g.Input("latents", 1, s.h, s.w, z)))
		}},
		{&out.upscale, "upscaler", p.upscaler != nil, func(g *compute.Graph) {
			f := p.vae.Factor()
			g.Output("picture", p.upscaler.Forward(g.Input("picture", 1, s.h*f, s.w*f, p.vae.OutChannels)))
		}},
	} {
		if !b.want {
			continue
		}
		g := compute.NewGraph()
		b.build(g)
		plan, err := g.Compile(lim)
		if err != nil {
			return nil, fmt.Errorf("the %s: %w", b.name, err)
		}
		*b.to = &stage{name: b.name, plan: plan}
	}
	return out, nil
}

// memory is the device memory of these stages held at once: all slots, and each parameter that they share once.
func (s *stages) memory(list ...*stage) int64 {
	var n int64
	seen := map[compute.Source]bool{}
	for _, st := range list {
		n += st.plan.SlotBytes()
		for _, p := range st.plan.Params {
			if seen[p.Src] {
				continue
			}
			seen[p.Src] = true
			if s.wide {
				n += 4 * int64(p.Shape().Size())
			} else {
				n += p.Bytes()
			}
		}
	}
	return n
}

// largest is the memory of the stage that needs most, when one is held at a time.
func (s *stages) largest() int64 {
	var n int64
	for _, st := range s.all() {
		n = max(n, s.memory(st))
	}
	return n
}

// held is the memory of the stages that are on the device.
func (s *stages) held() int64 {
	var list []*stage
	for _, st := range s.all() {
		if st.loaded != nil {
			list = append(list, st)
		}
	}
	return s.memory(list...)
}

// fit decides whether the device holds all stages at once or one at a time, or refuses both before anything is allocated.
func (s *stages) fit(available int64) bool {
	s.together = available == 0 || s.memory(s.all()...) <= available
	return s.together || s.largest() <= available
}

// use gives the stage's executable, loading it if need be, and what to call when done with it.
func (s *stages) use(ctx context.Context, dev compute.Device, st *stage) (compute.Executable, func(), error) {
	if st.loaded == nil {
		if !s.together {
			s.close()
		}
		exe, err := dev.Load(ctx, st.plan)
		if err != nil {
			return nil, nil, stageError(ctx, st, err)
		}
		st.loaded = exe
	}
	return st.loaded, func() {
		if !s.together {
			s.close()
		}
	}, nil
}

func stageError(ctx context.Context, st *stage, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var memory *compute.MemoryError
	if errors.As(err, &memory) {
		return err
	}
	return fmt.Errorf("the %s: %w", st.name, err)
}

// run replays a stage once.
func (s *stages) run(ctx context.Context, dev compute.Device, st *stage, in, out map[string][]float32) error {
	exe, done, err := s.use(ctx, dev, st)
	if err != nil {
		return err
	}
	defer done()
	if err := exe.Run(ctx, in, out); err != nil {
		return stageError(ctx, st, err)
	}
	return nil
}

// close gives the device's memory back.
func (s *stages) close() {
	for _, st := range s.all() {
		if st.loaded != nil {
			st.loaded.Close()
			st.loaded = nil
		}
	}
}
