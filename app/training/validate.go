package training

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"atelier/app/dataset"
	"atelier/models/checkpoint"
)

// validate measures the loss of the pictures set aside, at the same noise every time, and keeps the best weights.
func (s *stage) validate(ctx context.Context) error {
	if s.looks == nil {
		return nil
	}
	averaged := s.run.Recipe.Train.EMA > 0
	sum, count := 0.0, 0.0
	err := s.lookAll(ctx, func(b *dataset.Batch, v view) error {
		in, err := s.feed(ctx, b, v)
		if err != nil {
			return err
		}
		loss, err := s.trainer.Evaluate(ctx, in, averaged, 0)
		sum += loss * float64(b.Real)
		count += float64(b.Real)
		return err
	})
	if err != nil {
		return err
	}
	loss := sum / count
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return s.failed(fmt.Errorf("the validation loss is %v at step %d", loss, s.trainer.Steps()), s.trainer.Steps())
	}
	return s.judge(ctx, loss)
}

// fewLooks is how often validation looks at pictures in all where the loss depends on what is drawn, and there are fewer pictures.
const fewLooks = 32

// lookAll calls do for all pictures set aside, in batches.
func (s *stage) lookAll(ctx context.Context, do func(b *dataset.Batch, v view) error) error {
	v := view{validation: true, pass: make([]int, s.run.Recipe.Train.Batch), passes: 1}
	if s.random {
		v.passes = max((fewLooks+len(s.held.Items)-1)/len(s.held.Items), 1)
	}
	bySize := map[dataset.Size]*dataset.Batch{} // all rows of a size, where pictures are looked at several times
	for i := range s.looks.PerEpoch() {
		b, err := s.looks.At(ctx, int64(i))
		if err == nil && v.passes == 1 {
			err = do(b, v)
		}
		if err != nil {
			return err
		}
		if v.passes == 1 {
			continue
		}
		all := bySize[b.Size]
		if all == nil {
			all = &dataset.Batch{Shape: b.Shape, Size: b.Size}
			bySize[b.Size] = all
		}
		row := len(b.Data) / b.Shape[0]
		all.Data = append(all.Data, b.Data[:b.Real*row]...)
		all.Captions, all.Items = append(all.Captions, b.Captions[:b.Real]...), append(all.Items, b.Items[:b.Real]...)
	}
	at := int64(0)
	for _, size := range s.sizes {
		if all := bySize[size]; all != nil {
			for _, b := range repeated(all, &v, at) {
				if err := do(b.Batch, b.view); err != nil {
					return err
				}
				at++
			}
		}
	}
	return nil
}

// looked is a batch and how it is looked at.
type looked struct {
	*dataset.Batch
	view
}

// repeated cuts all pictures of a size, each as often as there are passes, into full batches; the last is filled up.
func repeated(all *dataset.Batch, v *view, at int64) []looked {
	n, row := all.Shape[0], len(all.Data)/len(all.Items)
	total := len(all.Items) * v.passes
	var out []looked
	for from := 0; from < total; from += n {
		b := &dataset.Batch{Shape: all.Shape, Size: all.Size, Real: min(n, total-from), Position: at + int64(len(out))}
		l := looked{b, view{validation: true, passes: v.passes}}
		for k := range n {
			at := (from + k) % total
			item := at % len(all.Items)
			b.Data = append(b.Data, all.Data[item*row:(item+1)*row]...)
			b.Captions, b.Items = append(b.Captions, all.Captions[item]), append(b.Items, all.Items[item])
			l.pass = append(l.pass, at/len(all.Items))
		}
		out = append(out, l)
	}
	return out
}

// judge remembers a validation loss.
func (s *stage) judge(ctx context.Context, loss float64) error {
	m := &s.memory
	switch step := s.trainer.Steps(); {
	case step == 0:
		m.Before = loss
	case m.BestStep == 0 || loss < m.Best:
		m.Best, m.BestStep, m.Bad = loss, step, 0
		weights, err := s.trainer.Weights(ctx, s.run.Recipe.Train.EMA > 0)
		if err != nil {
			return err
		}
		s.pending = weights
		s.keepBest()
	default:
		m.Bad++
		m.Early = s.run.Recipe.Train.Patience > 0 && m.Bad >= s.run.Recipe.Train.Patience
	}
	e := s.tell(Event{What: EventValidation, Validation: loss, Best: m.Best})
	if err := s.log.add(e); err != nil {
		s.warn(err)
	}
	return nil
}

// keepBest writes the best weights; while the disk refuses, they stay in memory.
func (s *stage) keepBest() {
	if s.pending == nil {
		return
	}
	if err := checkpoint.Write(filepath.Join(s.dir, bestFile), s.pending, map[string]string{"step": fmt.Sprint(s.memory.BestStep)}); err != nil {
		s.warn(err)
		return
	}
	s.pending = nil
}
