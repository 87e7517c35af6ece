package training

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/train"
)

// stage is one training of one set of parameters: a whole plain run, or a fold of a cross-validation.
type stage struct {
	run     *Run
	kind    *kind
	dev     compute.Device
	options Options
	dir     string
	label   string
	train   *dataset.Dataset
	held    *dataset.Dataset // for validation; nil without
	report  *dataset.Report
	folds   []Fold // that were trained before
	fold    bool   // this is one of them
	steps   int    // in place of the recipe's, where not 0

	*subject
	trainer   *train.Trainer
	batches   *dataset.Batches
	looks     *dataset.Batches // at held
	sizes     []dataset.Size   // of batches
	planned   int              // steps
	target    int              // where this sitting ends
	memory    memory
	log       *logFile
	saved     time.Time
	safe      int  // the step of the state on the disk
	older     int  // the step of the state before it
	broken    bool // the parameters are no numbers any more
	finished  int  // steps that the weights at hand have seen, once they are no longer trained
	retry     time.Time
	pending   []checkpoint.Tensor // the best weights, while the disk refuses them
	began     time.Time
	pace      time.Duration // of a step, recently
	inSteps   time.Duration // of this sitting
	madeSteps int
}

// memory is what a state remembers beside the trainer's own.
type memory struct {
	Best     float64   `json:"best"`
	BestStep int       `json:"best_step"` // 0 before the first
	Bad      int       `json:"bad"`       // validations since the best
	Early    bool      `json:"early"`
	Before   float64   `json:"before"` // validation loss of step 0
	First    float64   `json:"first"`  // loss of step 1
	Seconds  float64   `json:"seconds"`
	Pictures float64   `json:"pictures_seen"`
	InSteps  float64   `json:"seconds_in_steps"`
	Started  time.Time `json:"started"`
	Peak     int64     `json:"peak"`
	Data     string    `json:"data"` // fingerprint of the pictures
}

const (
	memoryKey = "run"            // of a state's metadata
	saveEvery = 30 * time.Second // of wall time, well under the minute that may be lost
	saveAgain = 10 * time.Second // after a failure, and before anything that takes long
)

// do trains to the end and makes what comes of it.
func (s *stage) do(ctx context.Context) (*Outcome, error) {
	defer s.close()
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	err := s.loop(ctx)
	if e := s.log.flush(); e != nil {
		s.warn(e)
	}
	if err != nil {
		return nil, err
	}
	return s.finish(ctx)
}

func (s *stage) close() {
	if s.trainer != nil {
		s.trainer.Close()
		s.trainer = nil
	}
	if s.subject != nil {
		s.subject.close()
		s.subject = nil
	}
}

// open makes the subject and its trainer, with the weights of a file, or those that the subject begins with.
func (s *stage) open(ctx context.Context, weights checkpoint.Tensors) (err error) {
	r := &s.run.Recipe
	if s.subject, err = s.kind.open(ctx, s.dev, r, s.train); err != nil {
		return err
	}
	if weights != nil {
		if err := start(s.params, weights); err != nil {
			return err
		}
	}
	if s.batches == nil {
		if s.batches, err = s.train.Batches(r.Seed, r.batchOptions(s.subject, true)); err != nil {
			return fmt.Errorf("data: %w", err)
		}
		if s.held != nil {
			if s.looks, err = s.held.Batches(r.Seed, r.batchOptions(s.subject, false)); err != nil {
				return fmt.Errorf("data.validation: %w", err)
			}
		}
		s.plan()
		s.findSizes()
	}
	if s.resize != nil {
		s.resize(s.sizes)
	}
	if s.start != nil && weights == nil {
		if err := s.startFromData(ctx); err != nil {
			return err
		}
	}
	config := r.config(s.planned)
	config.Variant = func(batch map[string][]float32) int { return int(batch[bucketKey][0]) }
	if s.trainer, err = train.New(s.dev, s.params, s.loss, config); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// startFromData shows the subject the first batch, before any step.
func (s *stage) startFromData(ctx context.Context) error {
	b, err := s.batches.At(ctx, 0)
	if err != nil {
		return err
	}
	in, err := s.feed(ctx, b, view{})
	if err != nil {
		return err
	}
	return s.start(ctx, in)
}

// bucketKey is where a batch's inputs say which of the sizes it has.
const bucketKey = "bucket"

// findSizes lists the sizes of batches, that of the most pictures first: its plan stays loaded.
func (s *stage) findSizes() {
	s.sizes = s.batches.Sizes()
	if s.looks != nil {
		for _, size := range s.looks.Sizes() {
			if !slices.Contains(s.sizes, size) {
				s.sizes = append(s.sizes, size)
			}
		}
	}
	counts := map[dataset.Size]int{}
	if b, err := dataset.NewBuckets(s.run.Recipe.batchOptions(s.subject, true).Buckets); err == nil {
		for _, c := range b.Count(s.train.Items) {
			counts[c.Size] = c.Pictures
		}
	}
	slices.SortStableFunc(s.sizes, func(a, b dataset.Size) int { return counts[b] - counts[a] })
}

// feed is a batch as the loss's inputs.
func (s *stage) feed(ctx context.Context, b *dataset.Batch, v view) (map[string][]float32, error) {
	in, err := s.inputs(ctx, b, v)
	if err == nil {
		in[bucketKey] = []float32{float32(slices.Index(s.sizes, b.Size))}
	}
	return in, err
}

// plan counts the steps.
func (s *stage) plan() {
	t := &s.run.Recipe.Train
	s.planned = t.Steps
	if t.Epochs > 0 {
		s.planned = max((t.Epochs*s.batches.PerEpoch()+t.Accumulate-1)/t.Accumulate, 1)
	}
	if s.steps > 0 {
		s.planned = s.steps
	}
	s.target = s.planned
	if s.options.Steps > 0 {
		s.target = s.options.Steps
		s.planned = max(s.planned, s.target)
	}
}

// begin opens everything, at the start or where the last sitting ended.
func (s *stage) begin(ctx context.Context) error {
	if err := s.open(ctx, nil); err != nil {
		return err
	}
	state := filepath.Join(s.dir, stateFile)
	data := fingerprintOf(s.train)
	s.memory = memory{Started: time.Now(), Data: data}
	if _, err := os.Stat(state); err == nil {
		extra, err := s.trainer.Restore(state)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(extra[memoryKey]), &s.memory); err != nil {
			return fmt.Errorf("%s cannot be resumed: what it says of the run cannot be read: %w", state, err)
		}
		if s.memory.Data != data {
			s.warn(errors.New("the pictures are not those that the run began with, so it does not go on exactly as it would have"))
			s.memory.Data = data
		}
		s.memory.Early = s.run.Recipe.Train.Patience > 0 && s.memory.Bad >= s.run.Recipe.Train.Patience
	}
	var err error
	if s.log, err = openLog(filepath.Join(s.dir, logName), s.trainer.Steps()); err != nil {
		return err
	}
	s.began, s.safe = time.Now(), s.trainer.Steps()
	if err := s.trainer.Prepare(ctx); err != nil {
		return err
	}
	if n := s.trainer.Stretches(); n > 0 {
		s.warn(fmt.Errorf("%s has no room for all activations at once, so the forward pass is computed twice, in %d stretches: steps take about a third longer", s.dev.Name(), n))
	}
	s.tell(Event{What: EventStart, Message: fmt.Sprintf("%d pictures, %d for validation, %d steps", len(s.train.Items), s.heldCount(), s.target)})
	if s.trainer.Steps() > 0 {
		s.saved = time.Now()
		return nil
	}
	s.save(ctx)
	if err := s.validate(ctx); err != nil {
		return err
	}
	return s.draw(ctx)
}

func (s *stage) heldCount() int {
	if s.held == nil {
		return 0
	}
	return len(s.held.Items)
}

// fingerprintOf changes with the names and sizes of a set's files.
func fingerprintOf(set *dataset.Dataset) string {
	h := sha256.New()
	for _, it := range set.Items {
		fmt.Fprintf(h, "%s\x00%d\x00%s\x00", it.Name, it.Bytes, it.Caption)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// loop makes steps until the target, the end of patience, or ctx's.
func (s *stage) loop(ctx context.Context) error {
	t := &s.run.Recipe.Train
	for s.trainer.Steps() < s.target && !s.memory.Early {
		if err := s.rest(ctx); err != nil {
			return err
		}
		if err := s.step(ctx); err != nil {
			return s.stop(ctx, err)
		}
		at := s.trainer.Steps()
		last := at == s.target
		if wait := max(s.memoryAge(), 0); wait >= saveEvery || wait >= saveAgain && (s.due(at, s.validateEvery()) || s.due(at, s.drawEvery())) {
			s.save(ctx)
		}
		for _, act := range []struct {
			due bool
			do  func(context.Context) error
		}{{s.due(at, s.validateEvery()) || last, s.validate}, {s.due(at, s.drawEvery()) && !last, s.draw}, {s.due(at, t.Save) && !last, s.snapshot}} {
			if !act.due {
				continue
			}
			if err := act.do(ctx); err != nil {
				return s.stop(ctx, err)
			}
		}
	}
	s.save(ctx)
	return ctx.Err()
}

// stop saves what was reached, unless it is broken, and gives the reason for stopping.
func (s *stage) stop(ctx context.Context, err error) error {
	if !s.broken {
		s.retry = time.Time{}
		s.save(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// memoryAge is how much would be lost now.
func (s *stage) memoryAge() time.Duration {
	if s.safe == s.trainer.Steps() {
		return 0
	}
	return time.Since(s.saved)
}

func (s *stage) due(step, every int) bool { return every > 0 && step%every == 0 }

// validateEvery is the recipe's number of steps, or a twentieth of the run.
func (s *stage) validateEvery() int {
	if n := s.run.Recipe.Train.Every; n > 0 {
		return n
	}
	return max(s.planned/20, 1)
}

// drawEvery is the recipe's number of steps, or a tenth of the run.
func (s *stage) drawEvery() int {
	if n := s.run.Recipe.Samples.Every; n > 0 {
		return n
	}
	return max(s.planned/10, 1)
}

// rest waits while the run is paused, with everything on the disk.
func (s *stage) rest(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		s.save(ctx)
		return err
	}
	wake := s.run.waiting()
	if wake == nil {
		return nil
	}
	s.save(ctx)
	s.tell(Event{What: EventPaused})
	rested := time.Now()
	select {
	case <-wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.began = s.began.Add(time.Since(rested)) // a rest is no training
	s.tell(Event{What: EventResumed})
	return nil
}

// step makes one step. Its batches follow from its number alone.
func (s *stage) step(ctx context.Context) error {
	start := time.Now()
	n := s.run.Recipe.Train.Accumulate
	var inputs []map[string][]float32
	epoch := 0
	for i := range n {
		b, err := s.batches.At(ctx, int64(s.trainer.Steps())*int64(n)+int64(i))
		if err != nil {
			return err
		}
		in, err := s.feed(ctx, b, view{})
		if err != nil {
			return err
		}
		epoch = b.Epoch
		inputs = append(inputs, in)
	}
	report, err := s.trainer.Step(ctx, inputs...)
	if err != nil && s.trainer.Steps() < report.Step {
		return err // it was not made
	}
	if v := report.GradNorm; err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = fmt.Errorf("the gradients are %v at step %d", v, report.Step)
	}
	if err != nil {
		return s.failed(err, report.Step-1)
	}
	s.timeStep(time.Since(start))
	if report.Step == 1 {
		s.memory.First = report.Loss
	}
	e := s.tell(Event{What: EventStep, Epoch: epoch + 1, Loss: report.Loss, Rate: report.Rate, Norm: report.GradNorm})
	if err := s.log.add(e); err != nil {
		s.warn(err)
	}
	return nil
}

// timeStep keeps the pace.
func (s *stage) timeStep(d time.Duration) {
	s.madeSteps++
	s.inSteps += d
	s.memory.InSteps += d.Seconds()
	s.memory.Pictures += float64(s.run.Recipe.Train.Batch * s.run.Recipe.Train.Accumulate)
	if s.pace == 0 || s.madeSteps == 2 { // the first step also warms up
		s.pace = d
	}
	s.pace += (d - s.pace) / 10
}

// draw makes the sample pictures of this moment.
func (s *stage) draw(ctx context.Context) error {
	if s.fold || len(s.run.Recipe.Samples.Seeds) == 0 {
		return nil
	}
	shots, err := s.sample(ctx, s.trainer, s.shown())
	if err != nil {
		return err
	}
	return s.keepShots(shots, fmt.Sprintf("step-%06d", s.trainer.Steps()))
}

// shown is the pictures that results are shown and measured on: those set aside, where there are.
func (s *stage) shown() *dataset.Dataset {
	if s.held != nil {
		return s.held
	}
	return s.train
}

// keepShots writes sample pictures.
func (s *stage) keepShots(shots []shot, name string) error {
	for i, shot := range shots {
		path := filepath.Join(s.dir, samplesDir, fmt.Sprintf("%s-%02d.png", name, i+1))
		if err := writeFile(path, func(f *os.File) error { return png.Encode(f, shot.Picture) }); err != nil {
			s.warn(err)
			continue
		}
		e := s.tell(Event{What: EventSample, Path: path, Message: shot.Label})
		e.Path = samplesDir + "/" + filepath.Base(path)
		if err := s.log.add(e); err != nil {
			s.warn(err)
		}
	}
	return nil
}

// snapshot keeps what would be made now.
func (s *stage) snapshot(ctx context.Context) error {
	if s.fold {
		return nil
	}
	weights, err := s.trainer.Weights(ctx, s.run.Recipe.Train.EMA > 0)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "checkpoints")
	err = os.MkdirAll(dir, 0o755)
	var path string
	if err == nil {
		path, err = s.export(ctx, weights, dir, fmt.Sprintf("%s-step-%06d", s.run.Recipe.Name, s.trainer.Steps()), s.outcome())
	}
	if err != nil {
		s.warn(err)
		return nil
	}
	s.tell(Event{What: EventSaved, Path: path})
	return nil
}

// save puts the state on the disk. Where that fails, training goes on and it is tried again soon.
func (s *stage) save(ctx context.Context) {
	known := !s.saved.IsZero() && s.safe == s.trainer.Steps() && s.pending == nil
	if known || time.Now().Before(s.retry) && ctx.Err() == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // what ends a run must not keep it from being saved
	s.keepBest()
	m := s.memory
	m.Seconds = s.seconds()
	text, err := json.Marshal(m)
	if err == nil {
		s.keepPrevious()
		err = s.trainer.Save(ctx, filepath.Join(s.dir, stateFile), map[string]string{memoryKey: string(text)})
	}
	if e := s.log.flush(); err == nil {
		err = e
	}
	if err != nil {
		s.retry = time.Now().Add(saveAgain)
		s.warn(fmt.Errorf("%w; training goes on, and saving is tried again", err))
		return
	}
	s.saved, s.safe, s.retry = time.Now(), s.trainer.Steps(), time.Time{}
	s.tell(Event{What: EventSaved, Path: filepath.Join(s.dir, stateFile)})
}

// keepPrevious keeps the state on the disk under another name, for as long as it is not known that the next one is sound. Where the
// file system knows no links, there is none.
func (s *stage) keepPrevious() {
	state, previous := filepath.Join(s.dir, stateFile), filepath.Join(s.dir, previousFile)
	os.Remove(previous)
	if os.Link(state, previous) == nil {
		s.older = s.safe
	}
}

// failed says where to go on after a step that broke. Where the state on the disk is the one that the step started from, it is broken
// too, and the one before it takes its place.
func (s *stage) failed(err error, from int) error {
	s.broken = true
	if s.safe >= from && s.safe > 0 {
		if os.Rename(filepath.Join(s.dir, previousFile), filepath.Join(s.dir, stateFile)) == nil {
			s.safe = s.older
		}
	}
	return fmt.Errorf("%w; training has stopped, and the state of step %d is kept: go on from it (--resume) with a lower learning_rate or a smaller clip", err, s.safe)
}

// seconds is the time of training, earlier sittings included.
func (s *stage) seconds() float64 { return s.memory.Seconds + time.Since(s.began).Seconds() }

// speed is pictures a second.
func (s *stage) speed() float64 {
	if s.pace == 0 {
		return 0
	}
	return float64(s.run.Recipe.Train.Batch*s.run.Recipe.Train.Accumulate) / s.pace.Seconds()
}

// left estimates the time to go: steps at the recent pace, and what else is done between them in the same proportion as so far.
func (s *stage) left() float64 {
	if s.madeSteps == 0 {
		return 0
	}
	other := time.Since(s.began) - s.inSteps
	perStep := s.pace + max(other, 0)/time.Duration(s.madeSteps)
	return perStep.Seconds() * float64(s.target-max(s.trainer.Steps(), s.finished))
}

// tell fills in an event and hands it over.
func (s *stage) tell(e Event) Event {
	e.Stage, e.Step, e.Steps = s.label, max(s.trainer.Steps(), s.finished), s.target
	e.Seconds, e.Left, e.Speed = round(s.seconds()), round(s.left()), round(s.speed())
	e.Bytes, e.Peak = s.dev.Memory()
	s.memory.Peak = max(s.memory.Peak, e.Peak)
	s.options.Events(e)
	return e
}

func (s *stage) warn(err error) { s.tell(Event{What: EventWarning, Message: err.Error()}) }

// round keeps milliseconds.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
