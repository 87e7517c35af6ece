package lora

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"atelier/compute"
	"atelier/compute/host/vector"
	"atelier/models/checkpoint"
	"atelier/models/ldm"
	"atelier/models/nn"
)

// Network is a part of a model that adapters may change.
type Network struct {
	Name   string // as in files: "unet", "text_encoder" or "text_encoder_2"
	Params []*nn.Param
	Table  *ldm.Table // of a denoiser, for files that name its layers in the original layout; else nil
	Alone  bool       // a model's only text encoder
}

// Use is a file with the weights that it is added with.
type Use struct {
	*File
	Text, UNet float64 // for text encoders and for the denoiser
}

// Apply makes the networks' parameters the sum of their own values and those of all uses; without uses, their own values
// again. It gives a sentence for each file of which something found no place.
func Apply(networks []Network, uses []Use) (warnings []string, err error) {
	places := map[string]*nn.Param{}
	texts := map[*nn.Param]bool{}
	for _, n := range networks {
		for _, p := range n.Params {
			layer, ok := strings.CutSuffix(p.Name, ".weight")
			if !ok {
				continue
			}
			texts[p] = n.Name != "unet"
			for _, key := range n.keys(layer) {
				places[key] = p
			}
		}
	}
	changes := map[*nn.Param][]nn.Delta{}
	for _, u := range uses {
		var lost []string
		for _, layer := range u.layers() {
			p := places[layer]
			if p == nil {
				lost = append(lost, layer)
				continue
			}
			weight := u.UNet
			if texts[p] {
				weight = u.Text
			}
			d, err := u.modules[layer].delta(weight, p)
			if err != nil {
				return nil, fmt.Errorf("the LoRA %s does not fit this model: its layer %s %w%s", u.Name, layer, err, u.madeFor())
			}
			if weight != 0 {
				changes[p] = append(changes[p], d)
			}
		}
		if len(lost) == len(u.modules) {
			return nil, fmt.Errorf("the LoRA %s does not fit this model: none of its %d layers is there%s", u.Name, len(lost), u.madeFor())
		}
		if len(lost) > 0 {
			warnings = append(warnings, fmt.Sprintf("%d of %d layers of the LoRA %s are not in this model and were left out: %s", len(lost), len(u.modules), u.Name, few(lost)))
		}
	}
	for _, u := range uses {
		if len(u.strange) > 0 {
			warnings = append(warnings, fmt.Sprintf("the LoRA %s also holds tensors that are part of no adapter: %s", u.Name, few(u.strange)))
		}
	}
	for _, n := range networks {
		for _, p := range n.Params {
			p.Change(changes[p]...)
		}
	}
	return warnings, nil
}

// madeFor says what a file's metadata says that it was made for.
func (f *File) madeFor() string {
	if f.base == "" {
		return ""
	}
	return " (it was made for " + f.base + ")"
}

// keys are the names under which files keep the adapter of a layer.
func (n *Network) keys(layer string) []string {
	flat := func(s string) string { return strings.ReplaceAll(s, ".", "_") }
	keys := []string{n.Name + "." + layer}
	switch n.Name {
	case "unet":
		keys = append(keys, "lora_unet_"+flat(layer), "diffusion_model."+layer)
		if n.Table != nil {
			for _, original := range n.Table.Originals(layer) {
				keys = append(keys, "lora_unet_"+flat(original), "diffusion_model."+original, "unet."+original)
			}
		}
	case "text_encoder":
		keys = append(keys, "lora_te1_"+flat(layer))
		if n.Alone {
			keys = append(keys, "lora_te_"+flat(layer))
		}
	case "text_encoder_2":
		keys = append(keys, "lora_te2_"+flat(layer))
	}
	return keys
}

// delta is the adapter's product, weighted, for a parameter of fitting size.
func (m *module) delta(weight float64, p *nn.Param) (nn.Delta, error) {
	rows, columns := m.up.Shape[0], elements(m.down.Shape[1:])
	if m.has[mid] {
		columns *= elements(m.mid.Shape[2:])
	}
	stored := p.Stored()
	if len(stored) < 2 || stored[0] != rows || elements(stored[1:]) != columns {
		return nil, fmt.Errorf("makes a matrix of %d × %d, where the model's is %v", rows, columns, compute.Shape(stored))
	}
	k := float32(weight * m.scale())
	return func(dst []float32) error {
		a, b, err := m.factors()
		if err != nil {
			return err
		}
		for i := range a {
			a[i] *= k
		}
		addProduct(dst, a, b, rows, m.rank(), columns)
		return nil
	}, nil
}

// factors reads the left factor [out rank] and the right one [rank in·kh·kw], into which a middle factor is multiplied.
func (m *module) factors() (a, b []float32, err error) {
	if a, err = m.up.Float32s(); err != nil {
		return nil, nil, err
	}
	if b, err = m.down.Float32s(); err != nil || !m.has[mid] {
		return a, b, err
	}
	k, err := m.mid.Float32s()
	if err != nil {
		return nil, nil, err
	}
	rank, in, cells := m.rank(), m.down.Shape[1], elements(m.mid.Shape[2:])
	joined := make([]float32, rank*in*cells)
	for r := range rank {
		for q := range rank {
			for i := range in {
				v := b[q*in+i]
				for c, w := range k[(r*rank+q)*cells : (r*rank+q+1)*cells] {
					joined[(r*in+i)*cells+c] += w * v
				}
			}
		}
	}
	return a, joined, nil
}

// addProduct is c [rows columns] += a [rows k] · b [k columns], in tiles over all processors.
func addProduct(c, a, b []float32, rows, k, columns int) {
	const panel = vector.Columns
	next := make(chan int, (columns+panel-1)/panel)
	for j := 0; j < columns; j += panel {
		next <- j
	}
	close(next)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			packed, tile := make([]float32, k*panel), make([]float32, vector.Rows*panel)
			last := make([]float32, vector.Rows*k)
			for j := range next {
				n := min(panel, columns-j)
				for q := range k {
					copy(packed[q*panel:], b[q*columns+j:][:n])
				}
				for i := 0; i < rows; i += vector.Rows {
					from := a[i*k:]
					if rows-i < vector.Rows { // the last rows, filled up
						clear(last)
						copy(last, from)
						from = last
					}
					var left vector.Left
					for r := range left {
						left[r] = &from[r*k]
					}
					vector.Tile(k, &left, packed, tile, panel, panel, false)
					for r := range min(vector.Rows, rows-i) {
						row := c[(i+r)*columns+j:][:n]
						vector.Add(row, row, tile[r*panel:][:n])
					}
				}
			}
		})
	}
	workers.Wait()
}

// Open opens a file of adapters.
func Open(path string) (*File, checkpoint.Tensors, error) {
	t, err := checkpoint.Open(path)
	if err != nil {
		return nil, nil, err
	}
	name := path[strings.LastIndexAny(path, `/\`)+1:]
	f, err := Read(name, t)
	if err == nil {
		err = f.besides(path)
	}
	if err != nil {
		t.Close()
		return nil, nil, err
	}
	return f, t, nil
}
