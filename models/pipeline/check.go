package pipeline

import (
	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/gan"
	"atelier/models/nn"
)

// Check builds every network that an open model holds over its tensors and says in one error what does not fit: tensors that are
// missing, of another shape, or part of nothing. No value is read and nothing is computed.
func Check(m *catalog.Model) error {
	if m.TextEncoder.Here() && m.UNet.Here() && m.VAE.Here() {
		_, err := newParts(m)
		return err
	}
	if m.Generator.Here() {
		_, err := openVectorNet(m)
		return err
	}
	var problems []error
	for _, p := range []struct {
		part  *catalog.Part
		build func() error
	}{
		{&m.TextEncoder, func() error { _, _, err := newText(m, &m.TextEncoder, nil); return err }},
		{&m.TextEncoder2, func() error { _, _, err := newText(m, &m.TextEncoder2, nil); return err }},
		{&m.UNet, func() error { _, _, err := newUNet(m, nil); return err }},
		{&m.VAE, func() error { _, _, err := newVAE(m); return err }},
		{&m.ControlNet, func() error { _, err := newControl(m); return err }},
		{&m.TinyDecoder, func() error { _, err := newTiny(&m.TinyDecoder, true); return err }},
		{&m.TinyEncoder, func() error { _, err := newTiny(&m.TinyEncoder, false); return err }},
	} {
		if !p.part.Here() {
			continue
		}
		if err := p.build(); err != nil {
			problems = append(problems, err)
		}
	}
	if m.Upscaler != nil {
		if _, err := gan.NewUpscaler(nn.Load(m.Upscaler.File, m.Upscaler.Weights)); err != nil {
			problems = append(problems, err)
		}
	}
	return together(problems...)
}

// Predict is the device memory in bytes that a whole model takes at its peak to make one guided picture of its own size where there
// is enough, and the least with which it can be made, one network at a time with its weights streamed. Nothing is allocated.
func Predict(m *catalog.Model, lim compute.Limits) (all, least int64, err error) {
	if m.Generator.Here() {
		return predictGenerator(m, lim)
	}
	p, err := newParts(m)
	if err != nil {
		return 0, 0, err
	}
	lim.MemoryBytes = 0
	const usual = 64 // latents along an axis, where the model does not say
	n := p.unet.SampleSize
	if n <= 0 {
		n = usual
	}
	st, err := p.compile(lim, setting{h: n, w: n, guided: true, chunks: 1, skip: 1})
	if err != nil {
		return 0, 0, err
	}
	st.fit(0)
	return st.peak(), st.least(), nil
}
