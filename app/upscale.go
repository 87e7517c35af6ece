package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atelier/app/dataset"
	"atelier/app/engine"
	"atelier/app/library"
	"atelier/models/pipeline"
)

type upscaleCmd struct {
	Pictures    []string `arg:"" name:"picture" help:"Pictures to enlarge (PNG, JPEG, GIF, BMP, WebP; read with 8 bits a channel)."`
	Model       string   `required:"" help:"Upscaler: a file, its name in the list of models, or the built-in model (sticker), whose own enlarges stickers."`
	Scale       float64  `help:"How many times as wide and high; 0 is what the upscaler does. Another number has its result resized."`
	Out         string   `placeholder:"FILE|DIR" help:"Picture to write (.png), or the folder for pictures named like name-x4.png; without it they go beside the originals."`
	Device      string   `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64    `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	JSON        bool     `name:"json" help:"Print one JSON object."`
}

// enlarged is what upscale --json prints.
type enlarged struct {
	Files    []string      `json:"files"`
	Pictures []enlargedOne `json:"pictures"`
	Model    string        `json:"model"`
	Hash     string        `json:"model_hash"`
	Own      int           `json:"model_scale"`
	Device   string        `json:"device"`
	Health   string        `json:"health"`
	Peak     int64         `json:"peak_device_bytes"`
	Warn     []string      `json:"warnings,omitempty"`
}

type enlargedOne struct {
	From    string             `json:"from"`
	File    string             `json:"file"`
	Width   int                `json:"width"`
	Height  int                `json:"height"`
	Seconds map[string]float64 `json:"seconds"`
}

// mostScale is how many times as wide a picture may be asked for.
const mostScale = 32

// Run enlarges the pictures, one after the other.
func (c *upscaleCmd) Run(ctx context.Context) error {
	if !(c.Scale >= 0 && c.Scale <= mostScale) {
		return fmt.Errorf("--scale %g: pictures are made up to %d times as large; 0 is what the upscaler does", c.Scale, mostScale)
	}
	e, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: megabytes(c.MemoryLimit)})
	if err != nil {
		return err
	}
	defer e.Close()
	pipes := engine.NewPipelines(e)
	defer pipes.Close()
	u, err := pipes.Upscaler(c.Model)
	if err != nil {
		return err
	}
	names, err := c.names(u.Scale())
	if err != nil {
		return err
	}
	start := time.Now()
	out := enlarged{Files: []string{}, Model: u.Name(), Own: u.Scale(), Device: e.Device.Name()}
	for i, from := range c.Pictures {
		one, err := c.one(ctx, u, from, names[i], &out)
		if err != nil {
			for _, f := range out.Files {
				fmt.Fprintln(os.Stderr, "atelier: finished before that:", f)
			}
			return err
		}
		out.Files, out.Pictures = append(out.Files, one.File), append(out.Pictures, one)
		if !c.JSON {
			fmt.Printf("%s  %d × %d\n", one.File, one.Width, one.Height)
		}
	}
	out.Health = e.Status().Health
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(out)
	}
	for _, w := range out.Warn {
		fmt.Fprintln(os.Stderr, "atelier: warning:", w)
	}
	fmt.Printf("%s on %s in %s\n", out.Model, out.Device, roundTime(time.Since(start)))
	return nil
}

// one enlarges a picture and writes it.
func (c *upscaleCmd) one(ctx context.Context, u *pipeline.Upscaler, from, to string, out *enlarged) (enlargedOne, error) {
	m, err := dataset.ReadPicture(from)
	if err != nil {
		return enlargedOne{}, fmt.Errorf("the picture %s cannot be used: %w", from, err)
	}
	req := pipeline.Request{Init: pipeline.PixelsOf(m), Upscaler: c.Model}
	if c.Scale > 0 {
		size := m.Bounds().Size()
		larger := func(n int) int { return max(1, int(math.Round(float64(n)*c.Scale))) }
		req.Width, req.Height = larger(size.X), larger(size.Y)
	}
	if p, err := library.ReadParameters(from); err == nil { // most pictures have none
		req.About = p.Raw
	}
	bar := newProgressBar(c.JSON)
	res, err := u.Run(ctx, req, bar.report)
	bar.done()
	if err != nil {
		return enlargedOne{}, err
	}
	if err := library.WriteTo(to, res.Images[0], metaOf(res, 0)); err != nil {
		return enlargedOne{}, err
	}
	out.Hash, out.Peak = res.ModelHash, res.PeakBytes
	for _, w := range res.Warnings {
		if !slices.Contains(out.Warn, w) {
			out.Warn = append(out.Warn, w)
		}
	}
	size := res.Images[0].Rect.Size()
	return enlargedOne{from, to, size.X, size.Y, res.Seconds}, nil
}

// names gives the file for every picture, and says before any work is done what cannot be written. Names that nobody gave are new ones.
func (c *upscaleCmd) names(scale int) ([]string, error) {
	info, err := os.Stat(c.Out)
	if folder := err == nil && info.IsDir(); !folder && strings.EqualFold(filepath.Ext(c.Out), ".png") {
		if len(c.Pictures) > 1 {
			return nil, fmt.Errorf("--out %s names one picture, and there are %d: give a folder", c.Out, len(c.Pictures))
		}
		return []string{c.Out}, library.CheckPath(c.Out)
	}
	suffix := fmt.Sprintf("-x%d.png", scale)
	if c.Scale > 0 {
		suffix = fmt.Sprintf("-x%g.png", c.Scale)
	}
	var names []string
	for _, from := range c.Pictures {
		folder := c.Out
		if folder == "" {
			folder = filepath.Dir(from)
		}
		name := filepath.Join(folder, strings.TrimSuffix(filepath.Base(from), filepath.Ext(from))+suffix)
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("two of the pictures would be written as %s: enlarge them one by one, each with an --out of its own", name)
		}
		if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s is there already: remove it, or name another file or folder with --out", name)
		}
		if err := library.CheckPath(name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
