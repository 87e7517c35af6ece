package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/assets"
	"atelier/models/pipeline"
	"atelier/render/audio"
	"atelier/ui"
)

type studioCmd struct {
	Device      string `enum:"auto,opengl,host,settings" default:"settings" help:"auto, opengl or host; settings takes what the window's settings say."`
	MemoryLimit int64  `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
}

// defaultPrompt is what a machine without a display draws.
const defaultPrompt = "red heart, 3d"

// Run opens the window; without a display it makes one picture instead and says where it is.
func (c *studioCmd) Run(ctx context.Context) error {
	store := settings.Open(settings.Path())
	lib := library.New(store.Get().OutputFolder)
	choice := c.Device
	if choice == "settings" {
		choice = store.Get().Device
	}
	if !hasDisplay() {
		defer store.Close()
		return onePicture(ctx, lib, engine.Options{Choice: choice, MemoryLimit: megabytes(c.MemoryLimit)})
	}
	// The window takes over the signals soon after it opens; until then one ends the program, which has nothing to lose yet.
	defer context.AfterFunc(ctx, func() { os.Exit(130) })()
	models, problem := openStore()
	s := newStudio(models, engine.Options{Choice: choice, MemoryLimit: megabytes(c.MemoryLimit)})
	beat, report := heartbeat(os.Getenv("ATELIER_HEARTBEAT"))
	defer report()
	sound := audio.New()
	defer sound.Close()
	ui.Run(ui.Options{Studio: s, Trainer: s, Models: models, ModelsProblem: problem, Settings: store, Library: lib, Version: "Atelier " + version, Close: s.close, Chime: chimeOn(sound), Heartbeat: beat, Log: logLine})
	return nil
}

func logLine(text string) { fmt.Fprintln(os.Stderr, "atelier:", text) }

// onePicture draws the default prompt into the library.
func onePicture(ctx context.Context, lib *library.Library, o engine.Options) error {
	start := time.Now()
	fmt.Printf("There is no display, so here is one picture instead of the window: %q\n", defaultPrompt)
	if err := library.CheckFolder(lib.Folder()); err != nil {
		return err
	}
	e, err := engine.Open(o)
	if err != nil {
		return err
	}
	defer e.Close()
	pipes := engine.NewPipelines(e)
	defer pipes.Close()
	pipe, err := pipes.Get("")
	if err != nil {
		return err
	}
	bar := newProgressBar(false)
	res, err := pipe.Run(ctx, pipeline.Request{Prompt: defaultPrompt, Seed: 1}, bar.report)
	bar.done()
	if err != nil {
		return err
	}
	path, err := lib.Save(res.Images[0], metaOf(res, 0))
	if err != nil {
		return err
	}
	device := e.Device.Name()
	if health := e.Status().Health; health != "" {
		device += " (" + health + ")"
	}
	fmt.Printf("Picture  %s\nDevice   %s\nTime     %s\n", path, device, roundTime(time.Since(start)))
	return nil
}

// studio is the engine behind the window.
type studio struct {
	ready chan struct{}
	life  context.Context // ends with the studio
	stop  context.CancelFunc
	done  sync.WaitGroup

	engine *engine.Engine // from ready on, as pipes
	pipes  *engine.Pipelines

	store *modelstore.Store

	mu        sync.Mutex
	models    []choice              // that can be asked for, best first
	adapters  []ui.Named            // that prompts can name
	controls  []ui.ControlNet       // that pictures can follow
	vaes      map[string][]ui.Named // autoencoders by family
	families  map[string]string     // of models by path
	upscalers []ui.Named            // that pictures can be enlarged by
	linked    map[string][]string   // folders with adapters and learned words, by kind
	failure   error

	busy turn // taken by a job, and by each case of the self-check
}

// openStore opens the person's list of models. Where that is damaged it is left as it is, and another list used until it is mended.
func openStore() (*modelstore.Store, error) {
	store, problem := modelstore.Open(modelstore.Options{})
	if problem == nil {
		return store, nil
	}
	spare := filepath.Join(os.TempDir(), fmt.Sprintf("atelier-models-%d.json", os.Getpid()))
	store, err := modelstore.Open(modelstore.Options{Config: spare})
	if err != nil {
		logLine(err.Error())
	}
	return store, problem
}

// turn is a mutex that one can stop waiting for.
type turn chan struct{}

// take waits for the turn, or gives ctx's error.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) leave() { <-t }

// free tells whether nobody has the turn right now.
func (t turn) free() bool { return len(t) == 0 }

// newStudio opens the engine; the part of it that needs the main thread runs here, the rest goes on behind the window.
func newStudio(store *modelstore.Store, o engine.Options) *studio {
	ctx, stop := context.WithCancel(context.Background())
	s := &studio{store: store, ready: make(chan struct{}), life: ctx, stop: stop, busy: make(turn, 1)}
	opening, err := engine.Begin(o)
	reason := ""
	if err != nil { // the window still opens, on the processor, and says why
		opening, _ = engine.Begin(engine.Options{Choice: engine.Host, MemoryLimit: max(0, o.MemoryLimit)})
		if reason = err.Error(); errors.Unwrap(err) != nil {
			reason = errors.Unwrap(err).Error() // the rest is advice for the command line
		}
	}
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		e := opening.Finish()
		if reason != "" {
			e.Reason = reason
		}
		s.engine, s.pipes = e, engine.NewPipelines(e)
		s.prepare(ctx)
	}()
	return s
}

// prepare opens the built-in model, builds its programs so that the first picture starts at once, and checks the kernels.
func (s *studio) prepare(ctx context.Context) {
	pipe, err := s.pipes.Get("")
	s.mu.Lock()
	if err == nil {
		built := []choice{{info: pipe.Info()}}
		for _, name := range assets.Names()[1:] { // opened when they are chosen
			built = append(built, choice{info: pipeline.ModelInfo{Name: name}, path: name, own: true})
		}
		s.models = slices.Insert(s.models, 0, built...)
	}
	s.failure = err
	s.mu.Unlock()
	close(s.ready)
	if err != nil {
		return
	}
	s.warm(ctx, pipe)
	err = s.engine.CheckOnce(ctx, func(ctx context.Context) error {
		// Letting go of the device between cases lets a waiting job run first.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if err := s.busy.take(ctx); err != nil {
			return err
		}
		s.busy.leave()
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		logLine(fmt.Sprintf("the self-check stopped: %v", err))
	}
}

func (s *studio) warm(ctx context.Context, pipe pipeline.Pipeline) {
	if s.busy.take(ctx) != nil {
		return
	}
	defer s.busy.leave()
	if err := pipe.Warm(ctx, pipeline.Request{Prompt: defaultPrompt}); err != nil && ctx.Err() == nil {
		logLine(fmt.Sprintf("warming up: %v", err))
	}
}

// Ready is closed when the engine has started.
func (s *studio) Ready() <-chan struct{} { return s.ready }

// Samplers and Schedules list what requests may name.
func (s *studio) Samplers() []ui.Named  { return named(pipeline.Samplers()) }
func (s *studio) Schedules() []ui.Named { return named(pipeline.Schedules()) }

// SchedulesFor lists the schedules that a sampler takes.
func (s *studio) SchedulesFor(sampler string) []ui.Named {
	return named(pipeline.SchedulesFor(sampler))
}

func named(all []pipeline.Named) []ui.Named {
	out := make([]ui.Named, len(all))
	for i, n := range all {
		out[i] = ui.Named{ID: n.ID, Label: n.Label}
	}
	return out
}

// Device says what runs the models and how well. It is for callers after Ready.
func (s *studio) Device() ui.DeviceStatus {
	st := s.engine.Status()
	return ui.DeviceStatus{Name: st.Name, Health: st.Health, Detail: st.Detail, OK: st.OK, Unproven: st.Unproven, UsedBytes: st.Used, TotalBytes: st.Total}
}

// Generate makes the pictures of one request, or enlarges the one that it brings.
func (s *studio) Generate(ctx context.Context, model string, req pipeline.Request, progress func(pipeline.Progress)) (*pipeline.Result, error) {
	progress(pipeline.Progress{Phase: "prepare"}) // programs are still being built when the program was just started
	if err := s.started(ctx); err != nil {
		return nil, err
	}
	if !s.busy.free() {
		progress(pipeline.Progress{Phase: "turn"})
	}
	if err := s.busy.take(ctx); err != nil {
		return nil, err
	}
	defer s.busy.leave()
	if req.Upscaler != "" {
		s.pipes.Only("", req.Upscaler)
		u, err := s.pipes.Upscaler(req.Upscaler)
		if err != nil {
			return nil, err
		}
		return u.Run(ctx, req, progress)
	}
	pipe, err := s.pipe(model, req.VAE)
	if err != nil {
		return nil, err
	}
	if err := s.pipes.Follow(&req); err != nil {
		return nil, err
	}
	return pipe.Run(ctx, req, progress)
}

// started waits for the engine; it gives why that did not start.
func (s *studio) started(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// close frees the engine. It runs once, when no job runs any more.
func (s *studio) close() {
	s.stop()
	s.done.Wait()
	s.pipes.Close()
	s.engine.Close()
}

// heartbeat collects how long the main thread let a function wait, and writes the samples in microseconds, a line each, to a
// file when the window has closed. An empty path collects nothing.
func heartbeat(path string) (hear func(time.Duration), report func()) {
	if path == "" {
		return nil, func() {}
	}
	var mu sync.Mutex
	var samples []byte
	hear = func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		samples = fmt.Appendf(samples, "%d %d\n", time.Now().UnixMilli(), d.Microseconds())
	}
	report = func() {
		mu.Lock()
		defer mu.Unlock()
		if err := os.WriteFile(filepath.Clean(path), samples, 0o644); err != nil {
			logLine(err.Error())
		}
	}
	return hear, report
}
