package train

import (
	"fmt"
	"slices"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/nn"
)

// Inversion is textual inversion (Gal et al. 2022): the vectors of a few tokens that stand for something new, trained while the
// text encoder and everything else stay as they are.
type Inversion struct {
	Vectors *nn.Param // [tokens channels]

	table *nn.Param // [vocabulary channels], frozen
	first int
}

// NewInversion trains the rows first … first+tokens−1 of a text encoder's table, ids that the prompts use for what is learnt. They
// start as the rows like, one for each token or one for all: those of a word that comes close.
func NewInversion(table *nn.Param, first, tokens int, like ...int) (*Inversion, error) {
	if len(table.Shape) != 2 || tokens < 1 || first < 0 || first+tokens > table.Shape[0] || len(like) != 1 && len(like) != tokens {
		return nil, fmt.Errorf("train: tokens %d to %d of a table %v cannot start as tokens %v", first, first+tokens-1, table.Shape, like)
	}
	channels := table.Shape[1]
	all := make([]float32, table.Shape.Size())
	if err := table.Source.Read(all); err != nil {
		return nil, err
	}
	var start []float32
	for i := range tokens {
		id := like[min(i, len(like)-1)]
		if id < 0 || id >= table.Shape[0] {
			return nil, fmt.Errorf("train: there is no token %d in a table %v to start from", id, table.Shape)
		}
		start = append(start, all[id*channels:][:channels]...)
	}
	return &Inversion{nn.NewParam("emb_params", slices.Clone(start), tokens, channels), table, first}, nil
}

// Params are what is trained.
func (v *Inversion) Params() []*nn.Param { return []*nn.Param{v.Vectors} }

// Bind puts the trained vectors in their rows of the table in g. It comes before the text encoder's Forward.
func (v *Inversion) Bind(g *compute.Graph) {
	frozen, last := v.table.InGraph(g), v.first+v.Vectors.Shape[0]
	var parts []*compute.Tensor
	if v.first > 0 {
		parts = append(parts, compute.Slice(frozen, 0, 0, v.first))
	}
	parts = append(parts, v.Vectors.InGraph(g))
	if last < v.table.Shape[0] {
		parts = append(parts, compute.Slice(frozen, 0, last, v.table.Shape[0]))
	}
	g.Bind(v.table.Source, compute.Concat(0, parts...))
}

// Embedding gives the trained vectors as other programs read them: one tensor, emb_params. weights are Trainer.Weights'.
func (v *Inversion) Embedding(weights []checkpoint.Tensor) ([]checkpoint.Tensor, error) {
	for _, w := range weights {
		if w.Name == v.Vectors.Name {
			return []checkpoint.Tensor{w}, nil
		}
	}
	return nil, fmt.Errorf("train: the weights lack the embedding")
}
