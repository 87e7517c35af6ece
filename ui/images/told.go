package images

import (
	"cmp"
	"strconv"
	"strings"

	"atelier/app/library"
	"atelier/app/settings"
	"atelier/models/diffusion"
)

// told is what a file says of how it was made, as the form has it; what it leaves out is as the form says now.
func (f *form) told(how library.Parameters) (settings.Parameters, error) {
	r, err := how.Request()
	if err != nil {
		return settings.Parameters{}, err
	}
	p := f.parameters()
	sampler, schedule, err := diffusion.ParseSampler(r.Sampler)
	if err != nil {
		return p, err
	}
	own, err := diffusion.ParseSchedule(r.Schedule)
	if err != nil {
		return p, err
	}
	if p.RNG, err = diffusion.ParseRNG(r.RNG); err != nil {
		return p, err
	}
	for _, m := range f.models {
		if m.Name == how.Fields["Model"] {
			p.Model = m.Name
		}
	}
	p.Prompt, p.Negative, p.Batch = r.Prompt, r.Negative, 1
	if _, ok := how.Fields["Seed"]; ok {
		p.Seed = strconv.FormatUint(r.Seed, 10)
	}
	p.Width, p.Height, p.Steps, p.CFG = cmp.Or(r.Width, p.Width), cmp.Or(r.Height, p.Height), cmp.Or(r.Steps, p.Steps), cmp.Or(r.CFG, p.CFG)
	p.Sampler, p.Schedule = cmp.Or(sampler, p.Sampler), cmp.Or(own, schedule, p.Schedule)
	p.Spacing, p.ZeroSNR, p.ClipSkip, p.Rescale, p.Eta = r.Spacing, r.ZeroSNR, r.ClipSkip, r.GuidanceRescale, ""
	if r.Eta != nil {
		p.Eta = strconv.FormatFloat(*r.Eta, 'f', -1, 64)
	}
	p.Strength, p.MaskBlur, p.OnlyMasked, p.Padding = r.Strength, r.MaskBlur, r.OnlyMasked, r.Padding
	p.VAE = ""
	for _, v := range f.studio.VAEs(p.Model) {
		if strings.EqualFold(v.Label, how.Fields["VAE"]) {
			p.VAE = v.ID
		}
	}
	p.Controls = [settings.MostControls]settings.Control{}
	for i, c := range how.Controls()[:min(len(how.Controls()), settings.MostControls)] {
		for _, n := range f.studio.ControlNets() {
			if strings.EqualFold(n.Label, c.Model) {
				p.Controls[i] = settings.Control{Model: n.ID, Weight: c.Weight, Start: c.Start, End: c.End}
			}
		}
	}
	return p, nil
}
