package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"atelier/app/modelstore"
	"atelier/app/training"
	"atelier/compute"
	"atelier/models/pipeline"
	"atelier/ui"
)

// slowPlan is a loaded plan that runs as long as the test wants.
type slowPlan struct {
	started chan struct{}
	release chan struct{}
}

func (p *slowPlan) Run(ctx context.Context, _, _ map[string][]float32) error {
	p.started <- struct{}{}
	select {
	case <-p.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (p *slowPlan) Close() {}

// slowDevice loads slow plans.
type slowDevice struct {
	compute.Device
	plan *slowPlan
}

func (d *slowDevice) Load(context.Context, *compute.Plan) (compute.Executable, error) {
	return d.plan, nil
}

// TestTrainingAndPicturesTakeTurns runs launches of a training beside another job: neither starts before the other has let go, the
// training says that it waits, and a wait ends with its context.
func TestTrainingAndPicturesTakeTurns(t *testing.T) {
	busy := make(turn, 1)
	plan := &slowPlan{started: make(chan struct{}, 1), release: make(chan struct{})}
	var mu sync.Mutex
	waits := 0
	dev := &sharedDevice{Device: &slowDevice{plan: plan}, busy: busy, wait: func() { mu.Lock(); waits++; mu.Unlock() }}
	ctx := context.Background()
	exe, err := dev.Load(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	launched := make(chan error, 1)
	go func() { launched <- exe.Run(ctx, nil, nil) }()
	<-plan.started
	if busy.free() {
		t.Error("a running launch has the device")
	}
	took := make(chan error, 1)
	go func() { took <- busy.take(ctx) }() // a picture
	select {
	case <-took:
		t.Fatal("a picture began while a launch ran")
	case <-time.After(30 * time.Millisecond):
	}
	plan.release <- struct{}{}
	if err := <-launched; err != nil {
		t.Fatal(err)
	}
	if err := <-took; err != nil {
		t.Fatal(err)
	}
	go func() { launched <- exe.Run(ctx, nil, nil) }()
	select {
	case <-plan.started:
		t.Fatal("a launch ran while a picture was being made")
	case <-time.After(30 * time.Millisecond):
	}
	mu.Lock()
	if waits != 1 {
		t.Errorf("the training said %d times that it waits", waits)
	}
	mu.Unlock()
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if err := exe.Run(stopped, nil, nil); err != context.Canceled {
		t.Errorf("a wait that is not worth it any more ends with %v", err)
	}
	busy.leave()
	<-plan.started
	plan.release <- struct{}{}
	if err := <-launched; err != nil {
		t.Fatal(err)
	}
	if !busy.free() {
		t.Error("the device is not let go of")
	}
}

func testStudio(t *testing.T) *studio {
	t.Helper()
	home := t.TempDir()
	store, err := modelstore.Open(modelstore.Options{Config: filepath.Join(home, "models.json"), Cache: filepath.Join(home, "cache.json"), Home: home})
	if err == nil {
		err = store.SetOwn(filepath.Join(home, "models"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return &studio{store: store, models: []choice{{info: pipeline.ModelInfo{Name: "sticker", Width: 256}}}}
}

// TestWhatWasTrainedIsKept adopts a LoRA twice, and another one of the same name.
func TestWhatWasTrainedIsKept(t *testing.T) {
	s := testStudio(t)
	adopt := func(folder, data string) ui.Use {
		t.Helper()
		r, err := training.New("lora", "ink", t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := training.Create(folder, r); err != nil {
			t.Fatal(err)
		}
		product := filepath.Join(folder, "ink.safetensors")
		if err := os.WriteFile(product, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		var use ui.Use
		for range 2 {
			if use, err = s.Adopt(context.Background(), &training.Outcome{Kind: "lora", Product: product, Example: "a cow, ink"}); err != nil {
				t.Fatal(err)
			}
		}
		return use
	}
	root := t.TempDir()
	if got := adopt(filepath.Join(root, "ink"), "one"); got.Words != "ink <lora:ink:1>" || got.Example != "a cow, ink <lora:ink:1>" {
		t.Errorf("use %+v", got)
	}
	if got := adopt(filepath.Join(root, "ink-2"), "another"); got.Words != "ink <lora:ink-2:1>" {
		t.Errorf("use of another one %+v", got)
	}
	folder := s.folders("loras")[0]
	for name, want := range map[string]string{"ink": "one", "ink-2": "another"} {
		if got, err := os.ReadFile(filepath.Join(folder, name+".safetensors")); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d files are kept, %v", len(entries), err)
	}
	if _, err := s.Adopt(context.Background(), &training.Outcome{Kind: "lora", Product: filepath.Join(root, "gone.safetensors")}); err == nil {
		t.Error("what is gone cannot be adopted")
	}
}

// TestModelsFollowTheStore offers checkpoints under names of their own, drops those that went, and finds adapters' folders.
func TestModelsFollowTheStore(t *testing.T) {
	s := testStudio(t)
	s.SetEntries([]modelstore.Entry{
		{Name: "sticker", Path: "/a/sticker", Kind: modelstore.Checkpoint},
		{Name: "broken", Path: "/a/broken.ckpt", Kind: modelstore.Checkpoint, Problem: "it is cut short"},
		{Name: "faces", Path: "/a/faces", Kind: modelstore.Generator},
		{Name: "soft", Path: "/b/soft.safetensors", Kind: modelstore.LoRA, Card: modelstore.Card{Triggers: []string{"softly"}}},
		{Name: "word", Path: "/c/word.pt", Kind: modelstore.Embedding},
	})
	var names []string
	for _, m := range s.Models() {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"sticker", "sticker (2)", "faces"}) {
		t.Errorf("models %q", names)
	}
	if name, ok := s.NameOf("/a/sticker"); !ok || name != "sticker (2)" {
		t.Errorf("name %q, %v", name, ok)
	}
	if got := s.Adapters(); len(got) != 2 || got[0] != (ui.Named{ID: "softly <lora:soft:1>", Label: "soft"}) || got[1] != (ui.Named{ID: "word", Label: "word"}) {
		t.Errorf("adapters %+v", got)
	}
	if got := s.folders("loras"); len(got) != 2 || got[1] != "/b" {
		t.Errorf("folders of LoRAs %q", got)
	}
	s.SetEntries(nil)
	if got := s.Models(); len(got) != 1 || got[0].Width != 256 {
		t.Errorf("after all went: %+v", got)
	}
}
