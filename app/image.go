package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"atelier/app/dataset"
	"atelier/app/engine"
	"atelier/app/library"
	"atelier/models/checkpoint"
	"atelier/models/pipeline"
	"atelier/models/prompt"

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
	Prompt   string  `required:"" help:"What to draw."`
	Negative string  `help:"What to keep away from."`
	Model    string  `default:"sticker" help:"The built-in model (sticker) or a model folder."`
	VAE      string  `name:"vae" placeholder:"MODEL" help:"Autoencoder in place of the model's own: a folder, a file, or its name in the list of models."`
	Seed     seed    `default:"-1" help:"Seed; -1 draws one."`
	Steps    int     `help:"Denoising steps, 1-150; 0 is the model's own."`
	CFG      float64 `name:"cfg" help:"Classifier-free guidance scale, 1-30; 0 is the model's own."`
	Sampler  string  `help:"Sampler, by id or label: euler, euler_ancestral, heun, dpm_2, dpm_2_ancestral, lms, dpmpp_2m, dpmpp_sde, dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_2s_ancestral, dpmpp_3m_sde, ddim, ddpm, uni_pc, lcm, pndm."`
	Schedule string  `help:"Noise schedule: normal (the model's own), karras, exponential, sgm_uniform, simple, ddim_uniform, beta, linear_quadratic."`
	Width    int     `help:"Width in pixels; 0 is the model's own."`
	Height   int     `help:"Height in pixels; 0 is the model's own."`
	Batch    int     `default:"1" help:"Number of pictures, 1-8; picture i uses seed + i."`

	RNG             string   `name:"rng" help:"Who draws the noise: atelier, cpu (torch's, as in ComfyUI and diffusers) or nv (an NVIDIA card's, as in A1111)."`
	Eta             *float64 `help:"Share of the noise drawn anew at every step, 0-1; without it the sampler's own (0 for ddim, 1 for ancestral and SDE samplers)."`
	Spacing         string   `help:"Spacing of timesteps: leading, trailing or linspace (as A1111's and ComfyUI's Euler has it); without it the model's own."`
	ZeroSNR         bool     `name:"zero-snr" help:"Begin from pure noise (zero terminal signal-to-noise ratio), as models that were trained for it do by themselves."`
	ClipSkip        int      `help:"Layer of the text encoder counted from its end, 1-12; 1 is the last."`
	GuidanceRescale float64  `help:"How much of the contrast that guidance adds is taken back, 0-1."`
	Wildcards       string   `placeholder:"DIR" help:"Folder of text files: __name__ in a prompt becomes a line of name.txt."`
	Lora            []string `name:"lora" sep:"none" placeholder:"NAME:WEIGHT" help:"Adapter to apply, beside those that the prompt names as <lora:name:weight>; may be repeated."`

	Embedding    []string  `sep:"none" placeholder:"FILE" help:"Textual inversion to learn; those in a folder embeddings near the model are found by their names. May be repeated."`
	Like         string    `placeholder:"PICTURE" help:"Take what other flags leave out (the prompt where it is empty, seed, size, sampler ...) from what a PNG file says of how it was made."`
	Control      []string  `sep:"none" placeholder:"MODEL" help:"ControlNet: a folder, a file, or its name in the list of models; --like names the one that it was made with. May be repeated: the flags below then count for one each, in the same order."`
	ControlImage []string  `sep:"none" placeholder:"FILE" help:"With --control: the picture to follow (as --init; tensor \"control\" of a safetensors file)."`
	ControlScale []float64 `sep:"none" placeholder:"1" help:"With --control: how much it counts, 0-10."`
	ControlStart []float64 `sep:"none" placeholder:"0" help:"With --control: from which part of the steps on, 0-1."`
	ControlEnd   []float64 `sep:"none" placeholder:"1" help:"With --control: up to which part of the steps, 0-1."`

	Init     string  `placeholder:"FILE" help:"Picture to begin from (PNG, JPEG, GIF, BMP, WebP, or tensor \"image01\", B C H W in 0-1, of a safetensors file)."`
	Strength float64 `help:"With --init: how much is made new, 0-1; 0 is 0.75."`
	Mask     string  `placeholder:"FILE" help:"With --init: picture that is white where something is made new (or tensor \"mask\" of a safetensors file)."`
	MaskBlur int     `default:"4" help:"With --mask: pixels over which new fades into old, 0-64."`
	OnlyMask bool    `name:"only-masked" aliases:"inpaint-full-res" help:"With --mask: work on the mask's surroundings alone, at --width and --height, and put them back."`
	Padding  int     `name:"masked-padding" default:"32" help:"With --only-masked: pixels of surroundings, 0-256."`

	Device      string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64  `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	Out         string `required:"" placeholder:"FILE" help:"Picture to write (.png); a batch adds -1, -2 … to the name."`
	Latents     string `placeholder:"FILE" help:"Take noise from a safetensors file: the first from tensor \"latents\" (B C H W, unit variance), where it has one, and further noise in order of use from noise00, noise01 ..."`
	Answers     string `placeholder:"FILE" help:"Take stepNN.noise_pred of a safetensors file for the denoiser's answers, guidance included: the sampler's arithmetic alone."`
	Trace       string `placeholder:"FILE" help:"Write stepNN.noise_pred, stepNN.latents, final_latents and image to a safetensors file."`
	JSON        bool   `name:"json" help:"Print one JSON object."`

	loras map[string]string // hashes that the parameters of --like name
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
	RNG     string             `json:"rng"`
	Eta     *float64           `json:"eta,omitempty"`
	Spacing string             `json:"spacing,omitempty"`
	ZeroSNR bool               `json:"zero_snr,omitempty"`
	Skip    int                `json:"clip_skip"`
	Rescale float64            `json:"guidance_rescale"`
	Prompts []string           `json:"prompts"`
	Negs    []string           `json:"negative_prompts"`
	Loras   []madeLora         `json:"loras,omitempty"`
	Init    string             `json:"init,omitempty"`
	Mask    string             `json:"mask,omitempty"`
	Strong  float64            `json:"strength,omitempty"`
	Control []string           `json:"control,omitempty"`
	Warn    []string           `json:"warnings,omitempty"`
	Words   string             `json:"vocabulary,omitempty"` // the folder it is from, where the model has none of its own
}

type madeLora struct {
	Name string  `json:"name"`
	Text float64 `json:"text_weight"`
	UNet float64 `json:"unet_weight"`
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
		if info, err := os.Stat(c.Trace); err == nil && info.IsDir() || filepath.Clean(c.Trace) == filepath.Clean(c.Out) {
			return fmt.Errorf("--trace %s is a folder or the picture itself; give the name of another file", c.Trace)
		}
		if err := library.CheckFolder(filepath.Dir(c.Trace)); err != nil {
			return err
		}
	}
	start := time.Now()
	e, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: megabytes(c.MemoryLimit)})
	if err != nil {
		return err
	}
	defer e.Close()
	pipes := engine.NewPipelines(e)
	defer pipes.Close()
	name := engine.With(c.Model, c.VAE)
	pipe, err := pipes.Get(name)
	if err != nil {
		return err
	}
	req, trace, err := c.request(pipe)
	if err != nil {
		return err
	}
	if err := pipes.Follow(&req); err != nil {
		return err
	}
	opened := time.Since(start).Round(time.Millisecond).Seconds()
	bar := newProgressBar(c.JSON)
	res, err := pipe.Run(ctx, req, bar.report)
	bar.done()
	if err != nil {
		if res != nil { // what was finished before is kept
			files, saveErr := save(res, c.Out)
			for _, f := range files {
				fmt.Fprintln(os.Stderr, "atelier: finished before that:", f)
			}
			err = cmp.Or(saveErr, err)
		}
		return err
	}
	res.Seconds["open"] = opened
	res.Warnings = append(res.Warnings, c.otherAdapters(res)...)
	m := c.summary(res)
	m.Health, m.Words = e.Status().Health, pipes.Vocabulary(name)
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
	for _, w := range res.Warnings {
		fmt.Fprintln(os.Stderr, "atelier: warning:", w)
	}
	if m.Words != "" {
		fmt.Printf("vocabulary from %s\n", m.Words)
	}
	for i, f := range m.Files {
		fmt.Printf("%s  seed %d%s\n", f, m.Seeds[i], decided(res, i))
	}
	fmt.Printf("%s on %s in %s\n", m.Model, m.Device, roundTime(time.Duration((opened+res.Seconds["total"])*float64(time.Second))))
	return nil
}

// decided is the prompt of picture i where the seed had a say in it: by wildcards, or by the label of a model that got no word.
func decided(res *pipeline.Result, i int) string {
	if i >= len(res.Prompts) || res.Prompts[i] == res.Request.Prompt {
		return ""
	}
	return "  " + res.Prompts[i]
}

// summary is what --json prints of a result.
func (c *imageCmd) summary(res *pipeline.Result) made {
	r := res.Request
	m := made{Seed: res.Seeds[0], Seeds: res.Seeds, Seconds: res.Seconds, Device: res.Device, Peak: res.PeakBytes, Model: res.Model,
		Width: res.Images[0].Rect.Dx(), Height: res.Images[0].Rect.Dy(), Steps: r.Steps, CFG: r.CFG, Sampler: r.Sampler, Sched: r.Schedule,
		RNG: r.RNG, Eta: r.Eta, Spacing: r.Spacing, ZeroSNR: r.ZeroSNR, Skip: r.ClipSkip, Rescale: r.GuidanceRescale, Prompts: res.Prompts, Negs: res.Negatives, Init: c.Init, Mask: c.Mask, Control: c.Control, Warn: res.Warnings}
	if res.Edited {
		m.Strong = r.Strength
	}
	for _, l := range res.LoRAs {
		m.Loras = append(m.Loras, madeLora{l.Name, l.Text, l.UNet})
	}
	return m
}

// request turns flags into a request.
func (c *imageCmd) request(pipe pipeline.Pipeline) (pipeline.Request, *recorder, error) {
	req := pipeline.Request{Prompt: c.Prompt, Negative: c.Negative, VAE: c.VAE, Width: c.Width, Height: c.Height, Steps: c.Steps, CFG: c.CFG,
		Sampler: c.Sampler, Schedule: c.Schedule, Seed: c.Seed.resolve(), Batch: c.Batch,
		RNG: c.RNG, Eta: c.Eta, Spacing: c.Spacing, ZeroSNR: c.ZeroSNR, ClipSkip: c.ClipSkip, GuidanceRescale: c.GuidanceRescale}
	if err := c.like(&req); err != nil {
		return req, nil, err
	}
	if err := c.words(&req, pipe); err != nil {
		return req, nil, err
	}
	if err := c.picture(&req); err != nil {
		return req, nil, err
	}
	if err := c.follow(&req); err != nil {
		return req, nil, err
	}
	if err := c.noise(&req, pipe); err != nil {
		return req, nil, err
	}
	if c.Trace == "" {
		return req, nil, nil
	}
	rec := &recorder{}
	req.Trace = rec.record
	return req, rec, nil
}

// like takes from a picture's parameters what flags leave out.
func (c *imageCmd) like(req *pipeline.Request) error {
	if c.Like == "" {
		return nil
	}
	p, err := library.ReadParameters(c.Like)
	if err != nil {
		return err
	}
	old, err := p.Request()
	if err != nil {
		return fmt.Errorf("%s: %w", c.Like, err)
	}
	if c.Seed.random {
		req.Seed = old.Seed
	}
	if req.Sampler == "" {
		req.Sampler = old.Sampler
		req.Schedule = cmp.Or(req.Schedule, old.Schedule)
	}
	req.Prompt, req.Negative = cmp.Or(req.Prompt, old.Prompt), cmp.Or(req.Negative, old.Negative)
	req.Width, req.Height, req.Steps = cmp.Or(req.Width, old.Width), cmp.Or(req.Height, old.Height), cmp.Or(req.Steps, old.Steps)
	req.CFG, req.GuidanceRescale, req.Strength = cmp.Or(req.CFG, old.CFG), cmp.Or(req.GuidanceRescale, old.GuidanceRescale), old.Strength
	req.RNG, req.Spacing, req.ClipSkip = cmp.Or(req.RNG, old.RNG), cmp.Or(req.Spacing, old.Spacing), cmp.Or(req.ClipSkip, old.ClipSkip)
	req.ZeroSNR = req.ZeroSNR || old.ZeroSNR
	if req.Eta == nil {
		req.Eta = old.Eta
	}
	c.loras = p.Loras()
	if used := p.Controls(); len(c.Control) == 0 && len(c.ControlImage) > 0 && len(used) > 0 {
		c.ControlScale, c.ControlStart, c.ControlEnd = nil, nil, nil
		for _, u := range used[:min(len(used), len(c.ControlImage))] { // which one each picture is for, their order says
			c.Control = append(c.Control, u.Model)
			c.ControlScale, c.ControlStart, c.ControlEnd = append(c.ControlScale, u.Weight), append(c.ControlStart, u.Start), append(c.ControlEnd, u.End)
		}
	}
	return nil
}

// otherAdapters warns where an adapter's file is not the one that made the picture of --like.
func (c *imageCmd) otherAdapters(res *pipeline.Result) (warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(c.loras)) {
		if now, was := res.LoRAHashes[name], c.loras[name]; now != "" && !strings.HasPrefix(now, was) && !strings.HasPrefix(was, now) {
			warnings = append(warnings, fmt.Sprintf("the adapter %s is not the file that made %s: its hash is %s, and was %s", name, c.Like, now, was))
		}
	}
	return warnings
}

// words reads what the prompt's words stand for.
func (c *imageCmd) words(req *pipeline.Request, pipe pipeline.Pipeline) error {
	if c.Wildcards != "" {
		if info, err := os.Stat(c.Wildcards); err != nil || !info.IsDir() {
			return fmt.Errorf("--wildcards %s is not a folder; choose one with text files", c.Wildcards)
		}
		req.Wildcards = os.DirFS(c.Wildcards)
	}
	for _, path := range c.Embedding {
		t, ok := pipe.(*pipeline.Text2Image)
		if !ok {
			return fmt.Errorf("%s reads no prompts, and so learns no words: leave --embedding out", pipe.Info().Name)
		}
		if err := t.LearnFile(path); err != nil {
			return err
		}
	}
	for _, text := range c.Lora {
		rest, list := prompt.LoRAs("<lora:" + text + ">")
		if rest != "" || len(list) != 1 {
			return fmt.Errorf("--lora %q is not NAME or NAME:WEIGHT", text)
		}
		req.LoRAs = append(req.LoRAs, list...)
	}
	return nil
}

// picture reads the picture to begin from, and its mask.
func (c *imageCmd) picture(req *pipeline.Request) (err error) {
	if c.Init == "" {
		if c.Mask != "" || c.Strength != 0 {
			return errors.New("--mask says where a picture is made new, and --strength how much: name that picture with --init")
		}
		return nil
	}
	if c.MaskBlur < 0 || c.Padding < 0 {
		return fmt.Errorf("--mask-blur and --masked-padding are numbers of pixels, 0 or more, not %d and %d", c.MaskBlur, c.Padding)
	}
	if req.Init, err = readPixels(c.Init, "image01", "image"); err != nil || c.Mask == "" {
		req.Strength = cmp.Or(c.Strength, req.Strength)
		return err
	}
	req.Mask, err = readPixels(c.Mask, "mask", "mask_image")
	req.Strength, req.OnlyMasked = cmp.Or(c.Strength, req.Strength), c.OnlyMask
	// A flag's 0 is none, where a request's 0 is the usual.
	if req.MaskBlur = c.MaskBlur; c.MaskBlur == 0 {
		req.MaskBlur = -1
	}
	if req.Padding = c.Padding; c.Padding == 0 {
		req.Padding = -1
	}
	return err
}

// follow names the ControlNets and reads the pictures that they follow.
func (c *imageCmd) follow(req *pipeline.Request) error {
	n := len(c.Control)
	if n != len(c.ControlImage) {
		return errors.New("--control names a ControlNet and --control-image the picture that it follows: give both, as often as each other")
	}
	if most := max(len(c.ControlScale), len(c.ControlStart), len(c.ControlEnd)); most > n {
		return fmt.Errorf("--control-scale, --control-start and --control-end count for one --control each, and there are %d of it: leave out those beyond", n)
	}
	for i, name := range c.Control {
		picture, err := readPixels(c.ControlImage[i], "control", "controlnet_cond", "control_image", "image01")
		if err != nil {
			return err
		}
		control := pipeline.Control{Model: name, Picture: picture, Scale: nth(c.ControlScale, i, 1), Start: nth(c.ControlStart, i, 0), End: nth(c.ControlEnd, i, 1)}
		if control.Scale != 0 { // at 0 it does not count
			req.Controls = append(req.Controls, control)
		}
	}
	return nil
}

// nth is element i of a list, or what stands for one that is left out.
func nth(list []float64, i int, otherwise float64) float64 {
	if i < len(list) {
		return list[i]
	}
	return otherwise
}

// readPixels reads a picture file, or a picture of numbers in [0, 1], 1 C H W, from a safetensors file: the first tensor there
// that has one of the names.
func readPixels(path string, names ...string) (*pipeline.Pixels, error) {
	if strings.ToLower(filepath.Ext(path)) != ".safetensors" {
		m, err := dataset.ReadPicture(path)
		if err != nil {
			return nil, fmt.Errorf("the picture %s cannot be used: %w", path, err)
		}
		return pipeline.PixelsOf(m), nil
	}
	all, err := readTensors(path)
	if err != nil {
		return nil, err
	}
	name := names[0]
	for _, n := range names {
		if _, ok := all[n]; ok {
			name = n
			break
		}
	}
	t, ok := all[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s has no tensor %s; it has %v", path, strings.Join(names, " or "), slices.Sorted(maps.Keys(all)))
	case len(t.Shape) != 4 || t.Shape[0] != 1:
		return nil, fmt.Errorf("tensor %s in %s has shape %v; a picture is 1 C H W", name, path, t.Shape)
	}
	p := &pipeline.Pixels{C: t.Shape[1], H: t.Shape[2], W: t.Shape[3]}
	for i := range p.W * p.H {
		for k := range p.C {
			p.Data = append(p.Data, t.Data[k*p.W*p.H+i])
		}
	}
	return p, nil
}

// noise reads the numbers of --latents.
func (c *imageCmd) noise(req *pipeline.Request, pipe pipeline.Pipeline) error {
	if c.Answers != "" {
		all, err := readTensors(c.Answers)
		if err != nil {
			return err
		}
		if req.Answers = numbered(all, "step%02d.noise_pred"); req.Answers == nil {
			return fmt.Errorf("%s has no tensor step00.noise_pred; it has %v", c.Answers, slices.Sorted(maps.Keys(all)))
		}
	}
	if c.Latents == "" {
		return nil
	}
	all, err := readTensors(c.Latents)
	if err != nil {
		return err
	}
	req.Noises = numbered(all, "noise%02d")
	t, ok := all["latents"]
	if !ok {
		if req.Noises == nil {
			return fmt.Errorf("%s has neither a tensor latents nor noise00; it has %v", c.Latents, slices.Sorted(maps.Keys(all)))
		}
		return nil
	}
	if len(t.Shape) != 4 {
		return fmt.Errorf("latents in %s have shape %v; they must be B C H W", c.Latents, t.Shape)
	}
	factor := pipe.Info().SizeStep
	if c.Width == 0 {
		req.Width = t.Shape[3] * factor
	}
	if c.Height == 0 {
		req.Height = t.Shape[2] * factor
	}
	req.Latents = t.Data
	return nil
}

// numbered lists the tensors of a pattern from number 0 on.
func numbered(all map[string]pipeline.Tensor, pattern string) (list [][]float32) {
	for i := 0; ; i++ {
		t, ok := all[fmt.Sprintf(pattern, i)]
		if !ok {
			return list
		}
		list = append(list, t.Data)
	}
}

// recorder keeps the numbers of a run.
type recorder struct{ tensors []checkpoint.Tensor }

func (r *recorder) record(name string, shape []int, data []float32) {
	r.tensors = append(r.tensors, checkpoint.NewF32(name, append([]int(nil), shape...), append([]float32(nil), data...)))
}

// save writes the pictures under out; those that cannot be go to the temporary folder, so that nothing made is lost.
func save(res *pipeline.Result, out string) (files []string, err error) {
	var kept []string
	for i, img := range res.Images {
		path := out
		if res.Request.Batch > 1 {
			ext := filepath.Ext(out)
			path = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(out, ext), i+1, ext)
		}
		meta := metaOf(res, i)
		failed := library.WriteTo(path, img, meta)
		if failed == nil {
			files = append(files, path)
			continue
		}
		err = cmp.Or(err, failed)
		if rescue, err := library.Rescue(img, meta); err == nil {
			kept = append(kept, rescue)
		}
	}
	if len(kept) > 0 {
		err = fmt.Errorf("%w; what could not be saved there is kept as %s", err, strings.Join(kept, ", "))
	}
	return files, err
}

// metaOf is what a picture says of how it was made.
func metaOf(res *pipeline.Result, i int) library.Meta {
	return library.MetaOf(res, i, library.Labels{Sampler: label(pipeline.Samplers()), Schedule: label(pipeline.Schedules())}, "Atelier "+version)
}

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
