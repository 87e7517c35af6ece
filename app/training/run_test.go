package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
)

// TestResumeIsExact stops a run at various moments and holds that it ends in the same bits as one that went through.
func TestResumeIsExact(t *testing.T) {
	base, data := smallModel(t), pictures(t, 6)
	r := recipe(t, "lora", base, data)
	r.Train.EMA, r.Train.Accumulate, r.Data.Augment.Shift = 0.9, 2, 0.1
	through := create(t, r)
	_, err := through.Train(t.Context(), device(t), Options{})
	must(t, err)

	stopped := create(t, r)
	_, err = stopped.Train(t.Context(), device(t), Options{Steps: 2})
	must(t, err)
	stopped, err = Reopen(stopped.Folder)
	must(t, err)
	_, err = stopped.Train(t.Context(), device(t), Options{})
	must(t, err)
	sameState(t, through, stopped)

	cancelled := create(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = cancelled.Train(ctx, device(t), Options{Events: func(e Event) {
		if e.What == EventStep && e.Step == 4 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled run gives %v", err)
	}
	_, err = cancelled.Train(t.Context(), device(t), Options{})
	must(t, err)
	sameState(t, through, cancelled)
}

// TestBuckets trains at the shapes that the pictures have, stops in the middle, and ends in the same bits.
func TestBuckets(t *testing.T) {
	data := pictures(t, 6)
	for i := range 6 { // wide, tall and square ones
		m := image.NewNRGBA(image.Rect(0, 0, 16+16*(i%2), 16+16*(i/2%2)))
		for k := range m.Pix {
			m.Pix[k] = uint8(k*(i+3)) | 15
		}
		f, err := os.Create(filepath.Join(data, fmt.Sprintf("p%02d.png", i)))
		must(t, err)
		must(t, png.Encode(f, m))
		must(t, f.Close())
	}
	r := recipe(t, "lora", smallModel(t), data)
	r.Data.Buckets, r.Samples.Seeds, r.Train.Batch = true, []uint64{}, 1
	through, stopped := create(t, r), create(t, r)
	o, err := through.Train(t.Context(), device(t), Options{})
	must(t, err)
	_, err = stopped.Train(t.Context(), device(t), Options{Steps: 2})
	must(t, err)
	_, err = stopped.Train(t.Context(), device(t), Options{})
	must(t, err)
	sameState(t, through, stopped)
	var report dataset.Report
	text, err := os.ReadFile(filepath.Join(through.Folder, dataFile))
	must(t, err)
	must(t, json.Unmarshal(text, &report))
	if len(report.Buckets) != 3 || o.Steps != 6 {
		t.Errorf("buckets %v, steps %d", report.Buckets, o.Steps)
	}
	r.Kind = "gan"
	if _, err := r.Fill(); err == nil || !strings.Contains(err.Error(), "data.buckets") {
		t.Errorf("buckets for a GAN: %v", err)
	}
}

// TestPause holds that a pause comes between steps, leaves the state on the disk, and ends.
func TestPause(t *testing.T) {
	run := create(t, recipe(t, "lora", smallModel(t), pictures(t, 4)))
	paused := make(chan struct{})
	go func() {
		<-paused
		if !run.Paused() {
			t.Error("the run doesn't say that it is paused")
		}
		run.Resume()
	}()
	var told events
	_, err := run.Train(t.Context(), device(t), Options{Events: func(e Event) {
		told.add(e)
		if e.What == EventStep && e.Step == 2 {
			run.Pause()
		}
		if e.What == EventPaused {
			f, err := checkpoint.Open(filepath.Join(run.Folder, stateFile))
			if err != nil || e.Step != 2 || f.Metadata()["step"] != "2" {
				t.Errorf("paused at %d: %v", e.Step, err)
			}
			f.Close()
			close(paused)
		}
	}})
	must(t, err)
	if len(told.of(EventResumed)) != 1 || len(told.of(EventStep)) != 6 {
		t.Errorf("%d resumed, %d steps", len(told.of(EventResumed)), len(told.of(EventStep)))
	}
}

// killedEnv makes the test binary a run that waits to be killed.
const killedEnv = "ATELIER_TEST_KILLED_RUN"

func TestMain(m *testing.M) {
	if folder := os.Getenv(killedEnv); folder != "" {
		trainUntilKilled(folder)
	}
	os.Exit(m.Run())
}

// trainUntilKilled saves at step 3, goes on to step 4, says so, and hangs in the middle of step 5.
func trainUntilKilled(folder string) {
	run, err := Reopen(folder)
	if err != nil {
		panic(err)
	}
	_, err = run.Train(context.Background(), device(&testing.B{}), Options{Events: func(e Event) {
		switch {
		case e.What == EventStep && e.Step == 3:
			run.Pause()
		case e.What == EventPaused:
			run.Resume()
		case e.What == EventStep && e.Step == 5:
			os.Stdout.WriteString("now\n")
			time.Sleep(time.Minute)
		}
	}})
	panic(err)
}

// TestKill kills a run with SIGKILL and holds that it goes on from its last state to the same bits.
func TestKill(t *testing.T) {
	r := recipe(t, "lora", smallModel(t), pictures(t, 4))
	through, killed := create(t, r), create(t, r)
	_, err := through.Train(t.Context(), device(t), Options{})
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedEnv+"="+killed.Folder)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	buf := make([]byte, 4)
	if _, err := out.Read(buf); err != nil || string(buf) != "now\n" {
		t.Errorf("the run said %q, %v", buf, err)
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	// the last line of its log may be torn
	f, err := os.OpenFile(filepath.Join(killed.Folder, logName), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	f.WriteString(`{"event":"step","step":5,"lo`)
	must(t, f.Close())
	var told events
	_, err = killed.Train(t.Context(), device(t), Options{Events: told.add})
	must(t, err)
	if steps := told.of(EventStep); steps[0].Step != 4 {
		t.Errorf("it went on at step %d", steps[0].Step)
	}
	sameState(t, through, killed)
}

// TestDevicesAgree trains the same on both devices.
func TestDevicesAgree(t *testing.T) {
	base, data := smallModel(t), pictures(t, 4)
	var first map[int]float64
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		r := recipe(t, "lora", base, data)
		r.Train.Steps, r.Train.EMA = 3, 0.9
		run := create(t, r)
		_, err := run.Train(t.Context(), dev, Options{})
		must(t, err)
		got := losses(t, run)
		if first == nil {
			first = got
		}
		for step, want := range first {
			if len(got) != 3 || math.Abs(got[step]-want) > 1e-4*want {
				t.Errorf("step %d has a loss of %v, want %v", step, got[step], want)
			}
		}
	})
}

// TestHalfPrecision computes with half-precision copies of what is trained.
func TestHalfPrecision(t *testing.T) {
	base, data := smallModel(t), pictures(t, 4)
	for _, kind := range []string{"lora", "textual_inversion", "latent_diffusion"} {
		r := recipe(t, kind, base, data)
		r.Train.Steps, r.Train.Half, r.Samples.Seeds = 2, true, []uint64{}
		o, err := create(t, r).Train(t.Context(), device(t), Options{})
		if err != nil || !(o.Loss > 0) {
			t.Errorf("%s: %v, %+v", kind, err, o)
		}
	}
}

// TestVanishingPicture removes a picture in the middle: the run stops with a sentence, and all that was done is on the disk.
func TestVanishingPicture(t *testing.T) {
	data := pictures(t, 6)
	r := recipe(t, "lora", smallModel(t), data)
	r.Train.Batch, r.Data.Validation, r.Samples.Seeds = 1, number(0), []uint64{}
	run := create(t, r)
	_, err := run.Train(t.Context(), device(t), Options{Events: func(e Event) {
		if e.What == EventStep && e.Step == 2 {
			for i := range 6 {
				must(t, os.Remove(filepath.Join(data, fmt.Sprintf("p%02d.png", i))))
			}
		}
	}})
	if err == nil || !strings.Contains(err.Error(), ".png: ") {
		t.Fatalf("the run gives %v", err)
	}
	f, err := checkpoint.Open(filepath.Join(run.Folder, stateFile))
	must(t, err)
	defer f.Close()
	if f.Metadata()["step"] != "2" {
		t.Errorf("the state is that of step %s", f.Metadata()["step"])
	}
}

// TestValidationCompares holds that the validation loss of a model is the same whatever the recipe's seed and batch.
func TestValidationCompares(t *testing.T) {
	base, data := smallModel(t), pictures(t, 10)
	var first float64
	for i, c := range []struct {
		seed  uint64
		batch int
	}{{1, 2}, {77, 5}, {3, 1}} {
		r := recipe(t, "lora", base, data)
		r.Seed, r.Train.Batch, r.Train.Steps, r.Samples.Seeds, r.Data.Validation = c.seed, c.batch, 1, []uint64{}, number(0.3)
		r.Data.Augment.Hue = 40
		o, err := create(t, r).Train(t.Context(), device(t), Options{})
		must(t, err)
		if i == 0 {
			first = o.Before
		}
		if o.Held != 3 || !(o.Before > 0) || math.Abs(o.Before-first) > 1e-5*first {
			t.Errorf("seed %d, batch %d: a validation loss of %v, want %v", c.seed, c.batch, o.Before, first)
		}
	}
}

// TestDropout holds that captions are left out as often as the recipe says, whole, and come with the trigger otherwise.
func TestDropout(t *testing.T) {
	r := recipe(t, "lora", smallModel(t), pictures(t, 4))
	r.Data.CaptionDropout, r.Data.Trigger = number(0.25), "toy"
	set, err := dataset.Open(r.Data.Path, dataset.Options{})
	must(t, err)
	defer set.Close()
	s, err := openLoRA(t.Context(), device(t), &r, set)
	must(t, err)
	defer s.close()
	batches, err := set.Batches(r.Seed, r.batchOptions(s, true))
	must(t, err)
	s.resize(batches.Sizes())
	empty, whole, n := 0, 0, 400
	for i := range n {
		b, err := batches.At(t.Context(), int64(i))
		must(t, err)
		in, err := s.inputs(t.Context(), b, view{})
		must(t, err)
		for row := range 2 {
			words := 0
			for _, id := range in["ids"][row*16 : (row+1)*16] {
				if id < 2512 {
					words++
				}
			}
			if words == 0 {
				empty++
			} else if words > 4 {
				whole++
			}
		}
	}
	if share := float64(empty) / float64(2*n); math.Abs(share-0.25) > 0.05 || empty+whole != 2*n {
		t.Errorf("%d of %d captions are empty, %d whole", empty, 2*n, whole)
	}
}

// TestEarlyStopping trains at a rate at which nothing changes.
func TestEarlyStopping(t *testing.T) {
	r := recipe(t, "lora", smallModel(t), pictures(t, 6))
	r.Train.Steps, r.Train.Rate, r.Train.Schedule, r.Train.Every, r.Train.Patience = 50, 1e-12, "constant", 1, 3
	run := create(t, r)
	o, err := run.Train(t.Context(), device(t), Options{})
	must(t, err)
	if !o.Early || o.BestStep < 1 || o.Steps != o.BestStep+3 || o.Steps > 20 {
		t.Errorf("early %v, best at %d of %d", o.Early, o.BestStep, o.Steps)
	}
}

// TestDivergence trains at a rate that breaks everything: it stops with a sentence, and a sound state is left to go on from.
func TestDivergence(t *testing.T) {
	r := recipe(t, "latent_diffusion", smallModel(t), pictures(t, 4))
	r.Train.Optimiser, r.Train.Rate, r.Train.Clip, r.Train.Schedule, r.Train.Steps = "sgd", 100, number(0), "constant", 40
	r.Train.Decay, r.Train.EMA, r.Samples.Seeds, r.Data.Validation = number(0), 0, []uint64{}, number(0)
	run := create(t, r)
	_, err := run.Train(t.Context(), device(t), Options{})
	if err == nil || !strings.Contains(err.Error(), "is kept: go on from it (--resume) with a lower learning_rate") {
		t.Fatalf("the run gives %v", err)
	}
	f, err := checkpoint.Open(filepath.Join(run.Folder, stateFile))
	must(t, err)
	for _, name := range f.Names() {
		x, _ := f.Get(name)
		values, err := x.Float32s()
		must(t, err)
		if !finite(values) {
			t.Fatalf("%s of the kept state is not finite", name)
		}
	}
	f.Close()
	r.Train.Rate, r.Train.Steps = 1e-4, 3
	must(t, run.Change(r))
	o, err := run.Train(t.Context(), device(t), Options{})
	must(t, err)
	if math.IsNaN(o.Loss) || o.Steps != 3 {
		t.Errorf("%+v", o)
	}
}

// TestFolds holds that each picture is set aside once, and that finished folds are not trained again.
func TestFolds(t *testing.T) {
	r := recipe(t, "lora", smallModel(t), pictures(t, 6))
	r.Data.Folds, r.Train.Steps, r.Samples.Seeds, r.Train.Patience = 3, 4, []uint64{}, 5
	r.Train.Every = 2
	run := create(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := run.Train(ctx, device(t), Options{Events: func(e Event) {
		if e.Stage == "fold 3 of 3" && e.What == EventStep {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var told events
	o, err := run.Train(t.Context(), device(t), Options{Events: told.add})
	must(t, err)
	for _, e := range told {
		if strings.HasPrefix(e.Stage, "fold 1") {
			t.Fatal("the first fold is trained again")
		}
	}
	if len(o.Folds) != 3 || !(o.Mean > 0) || !(o.Deviation >= 0) || o.Held != 0 || o.Pictures != 6 || o.Steps > 4 || o.Steps < 2 {
		t.Errorf("%+v", o)
	}
	held := 0
	for _, f := range o.Folds {
		held += f.Held
	}
	if held != 6 {
		t.Errorf("%d pictures were set aside in all", held)
	}
}

// TestTroubleOnTheDisk makes the state unwritable in the middle: it is said, training goes on, and the product is made.
func TestTroubleOnTheDisk(t *testing.T) {
	run := create(t, recipe(t, "lora", smallModel(t), pictures(t, 4)))
	state := filepath.Join(run.Folder, stateFile)
	var told events
	o, err := run.Train(t.Context(), device(t), Options{Events: func(e Event) {
		told.add(e)
		if e.What == EventStep && e.Step == 1 {
			must(t, os.Remove(state))
			write(t, filepath.Join(state, "in the way"), nil)
		}
	}})
	must(t, err)
	warned := false
	for _, e := range told.of(EventWarning) {
		warned = warned || strings.Contains(e.Message, "training goes on, and saving is tried again")
	}
	if !warned || o.Steps != 6 || o.Product == "" {
		t.Errorf("warnings %v, outcome %+v", told.of(EventWarning), o)
	}
}

// TestLossFalls lets an autoencoder learn four pictures by heart.
func TestLossFalls(t *testing.T) {
	r := recipe(t, "autoencoder", "", pictures(t, 4))
	r.Train.Steps, r.Train.Batch, r.Train.Rate, r.Data.Validation = 60, 4, 5e-3, number(0)
	r.Data.Augment, r.Train.EMA, r.Samples.Seeds = Augment{}, 0, []uint64{}
	run := create(t, r)
	o, err := run.Train(t.Context(), device(t), Options{})
	must(t, err)
	if !(o.Loss < 0.5*o.First) {
		t.Errorf("the loss went from %v to %v", o.First, o.Loss)
	}
}

// TestAutoencoderOnward trains the decoder of a model only: the encoder and the rest of the folder stay as they were.
func TestAutoencoderOnward(t *testing.T) {
	base := smallModel(t)
	r := recipe(t, "autoencoder", "", pictures(t, 4))
	r.Base, r.VAE = base, VAE{Decoder: true}
	r.Train.Steps = 2
	r, err := r.Fill()
	must(t, err)
	run := create(t, r)
	o, err := run.Train(t.Context(), device(t), Options{})
	must(t, err)
	before, err := checkpoint.Open(filepath.Join(base, "vae/diffusion_pytorch_model.safetensors"))
	must(t, err)
	defer before.Close()
	after, err := checkpoint.Open(filepath.Join(o.Product, "vae/diffusion_pytorch_model.safetensors"))
	must(t, err)
	defer after.Close()
	if len(before.Names()) != len(after.Names()) {
		t.Fatalf("%d tensors became %d", len(before.Names()), len(after.Names()))
	}
	for _, name := range before.Names() {
		x, _ := before.Get(name)
		y, _ := after.Get(name)
		a, err := x.Float32s()
		must(t, err)
		b, err := y.Float32s()
		must(t, err)
		most := 0.0
		for i := range a {
			most = max(most, math.Abs(float64(a[i]-b[i])))
		}
		if kept := strings.HasPrefix(name, "encoder.") || strings.HasPrefix(name, "quant_conv."); kept && most > 1e-3 || name == "decoder.conv_in.weight" && most == 0 {
			t.Errorf("%s moved by %v", name, most)
		}
	}
	opens(t, o.Product)
}

func opens(t *testing.T, folder string) {
	t.Helper()
	m, err := catalog.Open(folder, catalog.Options{})
	must(t, err)
	must(t, m.Close())
}

func TestRunsAreListed(t *testing.T) {
	dir, base, data := t.TempDir(), smallModel(t), pictures(t, 3)
	r := recipe(t, "lora", base, data)
	r.Train.Steps, r.Samples.Seeds = 2, []uint64{}
	run, err := Create(filepath.Join(dir, "one"), r)
	must(t, err)
	_, err = run.Train(t.Context(), device(t), Options{})
	must(t, err)
	_, err = Create(filepath.Join(dir, "two"), r)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "none"), 0o755))
	list, err := List(dir)
	must(t, err)
	if len(list) != 2 || list[0].Name != "toy" || !list[0].Finished || list[0].Step != 2 || list[0].Product == "" || list[1].Finished {
		t.Errorf("%+v", list)
	}
	if _, err := Create(run.Folder, r); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("a folder with a run is taken: %v", err)
	}
	if list, err := List(filepath.Join(dir, "missing")); err != nil || list != nil {
		t.Errorf("a missing folder gives %v, %v", list, err)
	}
}

// TestBadSets are sets that cannot be trained on.
func TestBadSets(t *testing.T) {
	base := smallModel(t)
	broken := t.TempDir()
	write(t, filepath.Join(broken, "a.png"), []byte("no picture"))
	for path, want := range map[string]string{broken: "data.path: none of the 1 pictures", filepath.Join(broken, "none"): "data.path: the dataset", t.TempDir(): "data.path: there are no pictures"} {
		run := create(t, recipe(t, "lora", base, path))
		if _, err := run.Train(t.Context(), device(t), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	r := recipe(t, "lora", base, pictures(t, 2))
	r.Data.Width = 18
	run := create(t, r)
	if _, err := run.Train(t.Context(), device(t), Options{}); err == nil || !strings.Contains(err.Error(), "data.width: 18 is no multiple of 4") {
		t.Errorf("an odd width: %v", err)
	}
	r = recipe(t, "lora", base, pictures(t, 2))
	r.Base = broken
	run = create(t, r)
	if _, err := run.Train(t.Context(), device(t), Options{}); err == nil || !strings.Contains(err.Error(), "base: ") {
		t.Errorf("a base that is none: %v", err)
	}
}
