package training

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"atelier/app/report"
	"atelier/models/checkpoint"
	"atelier/models/nn"
)

// outcome is what the stage has come to so far.
func (s *stage) outcome() Outcome {
	r, m := &s.run.Recipe, &s.memory
	o := Outcome{
		Kind: r.Kind, Name: r.Name, Device: s.dev.Name(), Steps: s.trainer.Steps(), Planned: s.planned, Width: s.width, Height: s.height,
		Epochs: s.trainer.Steps() * r.Train.Accumulate / s.batches.PerEpoch(), Pictures: len(s.train.Items), Held: s.heldCount(),
		Started: m.Started, Finished: time.Now(), Seconds: round(s.seconds()), Peak: m.Peak, First: m.First, Before: m.Before, Early: m.Early, Folds: s.folds,
	}
	for _, p := range s.params {
		o.Parameters += p.Shape.Size()
	}
	if m.BestStep > 0 {
		o.Validation, o.BestStep = m.Best, m.BestStep
	}
	if m.InSteps > 0 {
		o.Speed = round(m.Pictures / m.InSteps)
	}
	if len(s.folds) > 0 {
		o.Mean, o.Deviation = spread(s.folds)
	}
	return o
}

// finish keeps the last weights, makes the product of the best, and reports.
func (s *stage) finish(ctx context.Context) (*Outcome, error) {
	averaged := s.run.Recipe.Train.EMA > 0
	weights, err := s.trainer.Weights(ctx, averaged)
	if err != nil {
		return nil, err
	}
	last := filepath.Join(s.dir, lastFile)
	if err := checkpoint.Write(last, weights, map[string]string{"step": fmt.Sprint(s.trainer.Steps())}); err != nil {
		return nil, err
	}
	s.keepBest()
	if s.pending != nil {
		return nil, fmt.Errorf("the best weights were not saved; free some space on the disk and go on (--resume)")
	}
	o := s.outcome()
	events, err := ReadLog(filepath.Join(s.dir, logName))
	if err != nil {
		return nil, err
	}
	o.Loss = lastLoss(events)
	chosen := last
	if o.BestStep > 0 {
		chosen = filepath.Join(s.dir, bestFile)
	}
	if !s.fold {
		if err := s.produce(ctx, chosen, &o); err != nil {
			return nil, err
		}
	}
	if err := writeJSON(filepath.Join(s.dir, resultFile), o); err != nil {
		return nil, err
	}
	os.Remove(filepath.Join(s.dir, previousFile)) // the end was reached, so the last state is sound
	s.tell(Event{What: EventDone, Loss: o.Loss, Validation: o.Validation, Path: o.Product})
	return &o, nil
}

// finalShots is how the names of the finished product's samples begin.
const finalShots = "final"

// lastLoss is the mean loss of the last tenth of the steps.
func lastLoss(events []Event) float64 {
	var losses []float64
	for _, e := range events {
		if e.What == EventStep {
			losses = append(losses, e.Loss)
		}
	}
	if len(losses) == 0 {
		return 0
	}
	losses = losses[len(losses)-max(len(losses)/10, 1):]
	sum := 0.0
	for _, l := range losses {
		sum += l
	}
	return sum / float64(len(losses))
}

// produce takes the chosen weights, draws and measures with them, and writes what others read, the card and the report.
func (s *stage) produce(ctx context.Context, chosen string, o *Outcome) error {
	weights, err := s.reopen(ctx, chosen)
	if err != nil {
		return err
	}
	defer weights.Close()
	if s.measure != nil {
		if o.Figures, err = s.measure(ctx, s.trainer, s.shown()); err != nil {
			return err
		}
	}
	if s.bits && o.BestStep > 0 {
		o.Figures = append(o.Figures, Figure{"bits per dimension", o.Validation, "bits", "of the pictures set aside"})
	}
	if s.prompts != nil {
		o.Example = s.prompts()[0]
	}
	var evaluation *report.Evaluation
	if len(s.run.Recipe.Samples.Seeds) > 0 {
		shots, err := s.sample(ctx, s.trainer, s.shown())
		if err != nil {
			return err
		}
		if err := s.keepShots(shots, finalShots); err != nil {
			return err
		}
		if s.compare != nil {
			if evaluation, err = s.compare(ctx, s.trainer, shots, s.train, s.held); err != nil {
				return err
			}
		}
	}
	if evaluation != nil && evaluation.Neighbours != nil {
		o.Copies, o.Made = evaluation.Neighbours.Memorised, len(evaluation.Neighbours.Matches)
	}
	o.Card = s.card(o, evaluation)
	var ts []checkpoint.Tensor
	for _, name := range weights.Names() {
		t, _ := weights.Get(name)
		ts = append(ts, t)
	}
	if o.Product, err = s.export(ctx, ts, s.dir, s.run.Recipe.Name, *o); err != nil {
		return err
	}
	if err := writeText(filepath.Join(s.dir, "card.md"), o.Card); err != nil {
		return err
	}
	if err := s.log.flush(); err != nil {
		return err
	}
	o.Report, err = s.writeReport(o, evaluation)
	return err
}

// reopen opens the subject anew with weights of a file in place of those it starts from.
func (s *stage) reopen(ctx context.Context, file string) (checkpoint.Tensors, error) {
	weights, err := checkpoint.Open(file)
	if err != nil {
		return nil, err
	}
	steps := s.trainer.Steps()
	s.close()
	if err := s.open(ctx, weights); err != nil {
		weights.Close()
		return nil, err
	}
	s.finished = steps
	return weights, nil
}

// start gives parameters the values of a file, before they are trained.
func start(params []*nn.Param, weights checkpoint.Tensors) error {
	missing := map[string]bool{}
	for _, p := range params {
		t, ok := weights.Get(p.Name)
		if !ok {
			missing[p.Name] = true
			continue
		}
		source, err := p.From(t)
		if err != nil {
			return err
		}
		p.Source = source
	}
	if len(missing) > 0 {
		return fmt.Errorf("the kept weights lack %v", slices.Sorted(maps.Keys(missing)))
	}
	return nil
}
