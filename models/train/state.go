package train

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// stateFormat is the metadata "format" of a saved state.
const stateFormat = "atelier training state 1"

// Names of a saved state's tensors are a part of the state and the parameter's name.
const weightPart, averagePart = "weights.", "average."

// variables calls do for every variable that outlives a step, with its name in a saved state.
func (t *Trainer) variables(do func(p *trained, name string, v *compute.Variable)) {
	for _, p := range t.params {
		do(p, weightPart+p.param.Name, p.value)
		for k, name := range t.config.Optimiser.states() {
			do(p, name+"."+p.param.Name, p.states[k])
		}
		if p.ema != nil {
			do(p, averagePart+p.param.Name, p.ema)
		}
	}
}

// read gives all variables from the device, in the graph's order of elements.
func (t *Trainer) read(ctx context.Context) (map[string][]float32, error) {
	if err := t.Prepare(ctx); err != nil {
		return nil, err
	}
	if t.values == nil {
		g := compute.NewGraph()
		t.variables(func(p *trained, name string, v *compute.Variable) { g.Output(name, g.Param(name, v, p.param.Shape...)) })
		var err error
		if t.values, err = t.load(ctx, g); err != nil {
			return nil, err
		}
	}
	return t.values.run(ctx, nil, nil)
}

// Weights are the parameters as a checkpoint stores them: their averages where averaged, else their present values.
func (t *Trainer) Weights(ctx context.Context, averaged bool) ([]checkpoint.Tensor, error) {
	if averaged && t.config.EMADecay == 0 {
		return nil, errors.New("train: there are no averages to save")
	}
	values, err := t.read(ctx)
	if err != nil {
		return nil, err
	}
	part := weightPart
	if averaged {
		part = averagePart
	}
	var ts []checkpoint.Tensor
	for _, p := range t.params {
		ts = append(ts, p.param.Tensor(p.param.Name, values[part+p.param.Name]))
	}
	return ts, nil
}

// Release gives the model's parameters their trained values (or averages) for good, and closes the trainer.
func (t *Trainer) Release(ctx context.Context, averaged bool) error {
	values, err := t.read(ctx)
	if err != nil {
		return err
	}
	for _, p := range t.params {
		part := weightPart
		if averaged && p.ema != nil {
			part = averagePart
		}
		p.param.Source = &compute.Values{Data: values[part+p.param.Name]}
	}
	t.Close()
	return nil
}

// Save writes everything that training goes on from: parameters, the optimiser's state, averages, and how many steps were done,
// from which what is drawn follows. The file is whole or not there. extra is kept for the caller, whose keys must not be among
// format, step, seed, optimiser and accumulate.
func (t *Trainer) Save(ctx context.Context, path string, extra map[string]string) error {
	values, err := t.read(ctx)
	if err != nil {
		return err
	}
	var ts []checkpoint.Tensor
	t.variables(func(p *trained, name string, _ *compute.Variable) {
		ts = append(ts, p.param.Tensor(name, values[name]))
	})
	meta := map[string]string{}
	for k, v := range extra {
		meta[k] = v
	}
	for k, v := range t.identity() {
		meta[k] = v
	}
	meta["step"] = strconv.Itoa(t.steps)
	return checkpoint.Write(path, ts, meta)
}

// identity is what must be the same for a state to go on from.
func (t *Trainer) identity() map[string]string {
	return map[string]string{
		"format": stateFormat, "seed": strconv.FormatUint(t.config.Seed, 10), "optimiser": t.config.Optimiser.Kind,
		"accumulate": strconv.Itoa(t.config.Accumulate),
	}
}

// Restore makes training go on from a file that Save wrote; it must come before the first step. It gives what extra was.
func (t *Trainer) Restore(path string) (extra map[string]string, err error) {
	if t.batch != nil {
		return nil, errors.New("train: a state is restored before the first step, not after")
	}
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	extra = map[string]string{}
	for k, v := range file.Metadata() {
		extra[k] = v
	}
	for k, want := range t.identity() {
		if have := extra[k]; have != want {
			return nil, fmt.Errorf("train: %s cannot be resumed here: its %s is %q, and this training's is %q; set it back, or begin a new run in another folder", path, k, have, want)
		}
		delete(extra, k)
	}
	steps, err := strconv.Atoi(extra["step"])
	if err != nil || steps < 0 {
		return nil, fmt.Errorf("train: %s cannot be resumed: it does not say after how many steps it was saved", path)
	}
	delete(extra, "step")
	starts := map[*compute.Variable]compute.Source{}
	t.variables(func(p *trained, name string, v *compute.Variable) {
		stored, ok := file.Get(name)
		if !ok && err == nil {
			err = fmt.Errorf("train: %s cannot be resumed here: it has no %q; check that the recipe is the one it was trained by", path, name)
		}
		if !ok || err != nil {
			return
		}
		if starts[v], err = p.param.From(stored); err != nil {
			err = fmt.Errorf("train: %s cannot be resumed here: %w; resume with the recipe that it was trained by, or begin a new run in another folder", path, err)
		}
	})
	if err != nil {
		return nil, err
	}
	t.forget()
	t.restored = &restored{file, starts}
	for v, start := range starts {
		v.Start = start
	}
	t.steps = steps
	return extra, nil
}

// restored is a saved state whose values the device does not hold yet.
type restored struct {
	file   checkpoint.Tensors
	starts map[*compute.Variable]compute.Source
}

// forget closes the file of a restored state: on Windows it could not be replaced by the next state otherwise.
func (t *Trainer) forget() {
	if t.restored == nil {
		return
	}
	for v := range t.restored.starts {
		v.Start = gone{}
	}
	t.restored.file.Close()
	t.restored = nil
}

// gone is the Source of values that only the device had.
type gone struct{}

// DType is float32.
func (gone) DType() compute.DType { return compute.F32 }

// Read says that the values are gone.
func (gone) Read([]float32) error {
	return errors.New("train: the trainer has been closed, and what it trained with it: restore it from its last state")
}
