package pipeline

import (
	"context"

	"atelier/models/unet"
)

// encodeTexts makes the states of texts, the negative one first where there are two, with the model's one or two encoders.
func (j *job) encodeTexts(ctx context.Context, texts []string) error {
	in, out := map[string][]float32{"ids": j.tokens(texts, 0)}, map[string][]float32{}
	n := len(texts)
	j.context = make([]float32, n*j.parts.text.MaxPositions*j.parts.unet.ContextDim[0])
	out["states"] = j.context
	if second := j.parts.text2; second != nil {
		ids, tokens := j.tokens(texts, 1), second.MaxPositions
		pool := make([]float32, len(ids))
		for i := range n {
			second.PoolRow(ids[i*tokens:(i+1)*tokens], pool[i*tokens:(i+1)*tokens])
		}
		j.pooled = make([]float32, n*second.ProjectionDim)
		in["ids2"], in["pool2"], out["pooled"] = ids, pool, j.pooled
	}
	if err := j.stages.run(ctx, j.dev, j.stages.text, in, out); err != nil {
		return err
	}
	if j.parts.text2 != nil && n > 1 && texts[0] == "" {
		// These models were trained with zeros for "no text", as A1111 and diffusers give them for an empty negative prompt.
		clear(j.context[:len(j.context)/n])
		clear(j.pooled[:len(j.pooled)/n])
	}
	return nil
}

// tokens gives the ids of texts for an encoder, 0 or 1, a row of as many as it has positions for each.
func (j *job) tokens(texts []string, encoder int) []float32 {
	n, t := j.parts.text.MaxPositions, j.model.Tokenizer
	if encoder == 1 && j.model.Tokenizer2 != nil {
		t = j.model.Tokenizer2
	}
	pad := float32(j.model.Pad(encoder))
	all := make([]float32, 0, n*len(texts))
	for _, text := range texts {
		ids := t.Encode(text)
		ids = ids[:min(len(ids), n-2)]
		all = append(all, float32(t.BOS()))
		for _, id := range ids {
			all = append(all, float32(id))
		}
		all = append(all, float32(t.EOS()))
		for range n - 2 - len(ids) {
			all = append(all, pad)
		}
	}
	return all
}

// conditions adds to the denoiser's inputs what families read beside the text's states.
func (j *job) conditions(in map[string][]float32) {
	u, rows := j.parts.unet, j.stages.rows()
	if u.TextTime {
		in["pooled"] = j.pooled
		h, w := float32(j.Height), float32(j.Width)
		for range rows {
			own := sizes{h, w, 0, 0, h, w}
			in["sizes"] = append(in["sizes"], own[:]...)
		}
	}
	if u.GuidanceDim > 0 {
		for range rows {
			in["guidance"] = append(in["guidance"], unet.GuidanceEmbedding(j.CFG, u.GuidanceDim)...)
		}
	}
}
