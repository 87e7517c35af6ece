package pipeline

import (
	"context"
	"slices"

	"atelier/compute"
	"atelier/models/prompt"
)

// words gives the tokens of an encoder, 0 or 1.
func (t *Text2Image) words(encoder int) *prompt.Words {
	w := &prompt.Words{Tokenizer: t.model.Tokenizer, Length: t.parts.text.MaxPositions, Pad: t.model.Pad(encoder)}
	if encoder == 1 && t.model.Tokenizer2 != nil {
		w.Tokenizer = t.model.Tokenizer2
	}
	first := t.parts.text.VocabSize
	if encoder == 1 {
		first = t.parts.text2.VocabSize
	}
	for _, l := range t.lessons.words {
		w.Embeddings = append(w.Embeddings, prompt.Embedding{Name: l.name, First: first, Vectors: l.count})
		first += l.count
	}
	return w
}

// chunks is how many rows of tokens the longest text of a picture takes.
func (t *Text2Image) chunks(s *script, guided bool) int {
	words, n := t.words(0), 1
	for _, text := range s.texts(guided) {
		n = max(n, len(words.Chunks(text)))
	}
	return n
}

// encoded is a text as the denoiser reads it: states [chunks·tokens width], and the pooled state of models that have one.
type encoded struct{ states, pooled []float32 }

// row is one row of tokens on its way through the text encoders.
type row struct {
	chunks [2]prompt.Chunk // for each encoder
	to     *encoded
	at     int // which of the text's rows it is
}

// encode turns texts into states, those of them that the job has not seen.
func (j *job) encode(ctx context.Context, texts []string) error {
	encoders := 1
	if j.parts.text2 != nil {
		encoders = 2
	}
	tokens, width := j.parts.text.MaxPositions, j.parts.unet.ContextDim[0]
	var rows []row
	for _, text := range texts {
		if j.encoded[text] != nil {
			continue
		}
		to := &encoded{states: make([]float32, j.stages.chunks*tokens*width)}
		j.encoded[text] = to
		var chunks [2][]prompt.Chunk
		for e := range encoders {
			words := j.words(e)
			chunks[e] = words.Chunks(text)
			for len(chunks[e]) < j.stages.chunks {
				chunks[e] = append(chunks[e], words.Empty())
			}
		}
		for i := range j.stages.chunks {
			r := row{to: to, at: i}
			for e := range encoders {
				r.chunks[e] = chunks[e][i]
			}
			rows = append(rows, r)
		}
	}
	exe, done, err := j.stages.use(ctx, j.dev, j.stages.text)
	if err != nil {
		return err
	}
	defer done()
	for n := j.stages.rows(); len(rows) > 0; rows = rows[min(n, len(rows)):] {
		if err := j.encodeRows(ctx, exe, rows[:min(n, len(rows))]); err != nil {
			return stageError(ctx, j.stages.text, err)
		}
	}
	return nil
}

// encodeRows runs the text encoders on as many rows as they take at once, or fewer.
func (j *job) encodeRows(ctx context.Context, exe compute.Executable, rows []row) error {
	p, n := j.parts, j.stages.rows()
	tokens, width := p.text.MaxPositions, p.unet.ContextDim[0]
	states := make([]float32, n*tokens*width)
	in, out := map[string][]float32{"ids": ids(rows, n, 0)}, map[string][]float32{"states": states}
	var pooled []float32
	if p.text2 != nil {
		pooled = make([]float32, n*p.text2.ProjectionDim)
		in["ids2"], in["pool2"], out["pooled"] = ids(rows, n, 1), make([]float32, n*tokens), pooled
		for i := range n {
			own := slices.Clone(in["ids2"][i*tokens : (i+1)*tokens])
			for k, id := range own {
				if int(id) >= p.text2.VocabSize { // a learned word never stands for the text
					own[k] = 0
				}
			}
			p.text2.PoolRow(own, in["pool2"][i*tokens:(i+1)*tokens])
		}
	}
	if err := exe.Run(ctx, in, out); err != nil {
		return err
	}
	for i, r := range rows {
		own := states[i*tokens*width : (i+1)*tokens*width]
		prompt.Weigh(own, width, 0, p.text.HiddenSize, r.chunks[0].Weights)
		if p.text2 != nil {
			prompt.Weigh(own, width, p.text.HiddenSize, width, r.chunks[1].Weights)
			if r.at == 0 { // the first row stands for the text
				r.to.pooled = append([]float32(nil), pooled[i*p.text2.ProjectionDim:(i+1)*p.text2.ProjectionDim]...)
			}
		}
		copy(r.to.states[r.at*tokens*width:], own)
	}
	return nil
}

// ids gives the ids of n rows for an encoder; where there are fewer rows, the last comes again.
func ids(rows []row, n, encoder int) (all []float32) {
	for i := range n {
		for _, id := range rows[min(i, len(rows)-1)].chunks[encoder].IDs {
			all = append(all, float32(id))
		}
	}
	return all
}

// say sets what the denoiser reads at a step of the picture, counted from 1.
func (j *job) say(step int) {
	cond := prompt.At(j.script.cond, step)
	texts := []string{cond}
	if j.stages.guided {
		texts = []string{prompt.At(j.script.uncond, step), cond}
	}
	j.context, j.pooled = j.context[:0], j.pooled[:0]
	for i, text := range texts {
		e := j.encoded[text]
		if i == 0 && j.stages.guided && j.parts.text2 != nil && text == "" {
			// Stable Diffusion XL was trained with zeros for no text.
			e = &encoded{make([]float32, len(e.states)), make([]float32, len(e.pooled))}
		}
		j.context, j.pooled = append(j.context, e.states...), append(j.pooled, e.pooled...)
	}
}
