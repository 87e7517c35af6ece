package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/models/checkpoint"
	"atelier/models/pipeline"

	"github.com/alecthomas/kong"
)

// seed is −1 for a random one, or 0 … 2^64−1.
type seed struct {
	random bool
	value  uint64
}

// Decode reads the flag's value, also where it begins with a minus sign.
func (s *seed) Decode(ctx *kong.DecodeContext) error {
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	if text == "-1" {
		s.random = true
		return nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("a seed is −1 for a random one, or a whole number from 0 to 18446744073709551615, not %q", text)
	}
	s.random, s.value = false, v
	return nil
}

// resolve gives the seed itself. Random ones stay below 2^32, so that they are quick to read aloud and type again.
func (s seed) resolve() uint64 {
	if s.random {
		return uint64(rand.Uint32())
	}
	return s.value
}

type imageCmd struct {
	Prompt      string  `required:"" help:"What to draw."`
	Negative    string  `help:"What to keep away from."`
	Model       string  `default:"sticker" help:"The built-in model (sticker) or a model folder."`
	Seed        seed    `default:"-1" help:"Seed; -1 draws one."`
	Steps       int     `help:"Denoising steps, 1-150; 0 is the model's own."`
	CFG         float64 `name:"cfg" help:"Classifier-free guidance scale, 1-30; 0 is the model's own."`
	Sampler     string  `help:"Sampler, such as ddim, euler, euler_ancestral, dpmpp_2m."`
	Schedule    string  `help:"Noise schedule, such as normal or karras."`
	Width       int     `help:"Width in pixels; 0 is the model's own."`
	Height      int     `help:"Height in pixels; 0 is the model's own."`
	Batch       int     `default:"1" help:"Number of pictures, 1-8; picture i uses seed + i."`
	Device      string  `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64   `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	Out         string  `required:"" placeholder:"FILE" help:"Picture to write (.png); a batch adds -1, -2 … to the name."`
	Latents     string  `placeholder:"FILE" help:"Take the first noise from tensor \"latents\" (B C H W, unit variance) of a safetensors file."`
	Trace       string  `placeholder:"FILE" help:"Write stepNN.noise_pred, stepNN.latents, final_latents and image to a safetensors file."`
	JSON        bool    `name:"json" help:"Print one JSON object."`
}

// made is what image --json prints.
type made struct {
	Files   []string           `json:"files"`
	Seed    uint64             `json:"seed"`
	Seeds   []uint64           `json:"seeds"`
	Seconds map[string]float64 `json:"seconds"`
	Device  string             `json:"device"`
	Health  string             `json:"health"`
	Peak    int64              `json:"peak_device_bytes"`
	Model   string             `json:"model"`
	Width   int                `json:"width"`
	Height  int                `json:"height"`
	Steps   int                `json:"steps"`
	CFG     float64            `json:"cfg"`
	Sampler string             `json:"sampler"`
	Sched   string             `json:"schedule"`
}

// Run makes the pictures and writes them.
func (c *imageCmd) Run(ctx context.Context) error {
	if err := library.CheckPath(c.Out); err != nil {
		return err
	}
	if c.Trace != "" {
		if c.Batch > 1 {
			return errors.New("--trace records one picture; leave --batch at 1")
		}
		if err := library.CheckFolder(filepath.Dir(c.Trace)); err != nil {
			return err
		}
	}
	start := time.Now()
	e, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: c.MemoryLimit * 1_000_000})
	if err != nil {
		return err
	}
	defer e.Close()
	pipes := engine.NewPipelines(e)
	defer pipes.Close()
	pipe, err := pipes.Get(c.Model)
	if err != nil {
		return err
	}
	req, trace, err := c.request(pipe)
	if err != nil {
		return err
	}
	opened := time.Since(start).Round(time.Millisecond).Seconds()
	bar := newProgressBar(c.JSON)
	res, err := pipe.Run(ctx, req, bar.report)
	bar.done()
	if err != nil {
		return err
	}
	res.Seconds["open"] = opened
	m := made{Seed: res.Seeds[0], Seeds: res.Seeds, Seconds: res.Seconds, Device: res.Device, Peak: res.PeakBytes, Model: res.Model, Health: e.Status().Health,
		Width: res.Images[0].Rect.Dx(), Height: res.Images[0].Rect.Dy(), Steps: res.Request.Steps, CFG: res.Request.CFG, Sampler: res.Request.Sampler, Sched: res.Request.Schedule}
	if m.Files, err = save(res, c.Out); err != nil {
		return err
	}
	if trace != nil {
		if err := checkpoint.Write(c.Trace, trace.tensors, map[string]string{"format": "atelier trace"}); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(m)
	}
	for i, f := range m.Files {
		fmt.Printf("%s  seed %d\n", f, m.Seeds[i])
	}
	fmt.Printf("%s on %s in %s\n", m.Model, m.Device, roundTime(time.Duration((opened+res.Seconds["total"])*float64(time.Second))))
	return nil
}

// request turns flags into a request.
func (c *imageCmd) request(pipe *pipeline.Text2Image) (pipeline.Request, *recorder, error) {
	req := pipeline.Request{Prompt: c.Prompt, Negative: c.Negative, Width: c.Width, Height: c.Height, Steps: c.Steps, CFG: c.CFG,
		Sampler: c.Sampler, Schedule: c.Schedule, Seed: c.Seed.resolve(), Batch: c.Batch}
	if c.Latents != "" {
		t, err := readTensor(c.Latents, "latents")
		if err != nil {
			return req, nil, err
		}
		if len(t.Shape) != 4 {
			return req, nil, fmt.Errorf("latents in %s have shape %v; they must be B C H W", c.Latents, t.Shape)
		}
		factor := pipe.Info().SizeStep
		if c.Width == 0 {
			req.Width = t.Shape[3] * factor
		}
		if c.Height == 0 {
			req.Height = t.Shape[2] * factor
		}
		req.Latents = t.Data
	}
	if c.Trace == "" {
		return req, nil, nil
	}
	rec := &recorder{}
	req.Trace = rec.record
	return req, rec, nil
}

// recorder keeps the numbers of a run.
type recorder struct{ tensors []checkpoint.Tensor }

func (r *recorder) record(name string, shape []int, data []float32) {
	r.tensors = append(r.tensors, checkpoint.NewF32(name, append([]int(nil), shape...), append([]float32(nil), data...)))
}

// save writes the pictures under out; where that fails they go to the temporary folder, so that nothing made is lost.
func save(res *pipeline.Result, out string) ([]string, error) {
	var files []string
	for i, img := range res.Images {
		path := out
		if len(res.Images) > 1 {
			ext := filepath.Ext(out)
			path = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(out, ext), i+1, ext)
		}
		meta := metaOf(res, i)
		if err := library.WriteTo(path, img, meta); err != nil {
			rescue := filepath.Join(os.TempDir(), fmt.Sprintf("atelier-%d.png", meta.Seed))
			if library.WriteTo(rescue, img, meta) == nil {
				return files, fmt.Errorf("%w; the picture is kept as %s", err, rescue)
			}
			return files, err
		}
		files = append(files, path)
	}
	return files, nil
}

// metaOf is what a picture says of how it was made.
func metaOf(res *pipeline.Result, i int) library.Meta {
	return library.MetaOf(res, i, library.Labels{Sampler: label(pipeline.Samplers()), Schedule: label(pipeline.Schedules())}, rngName, "Atelier "+version)
}

// rngName says which generator drew the noise, where A1111 writes GPU, CPU or NV.
const rngName = "Philox"

func label(all []pipeline.Named) func(string) string {
	return func(id string) string {
		for _, n := range all {
			if n.ID == id {
				return n.Label
			}
		}
		return id
	}
}
