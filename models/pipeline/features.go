package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/judge"
	"atelier/models/vae"

	xdraw "golang.org/x/image/draw"
)

// Extractor describes pictures by a model's own autoencoder, for measures between sets of pictures, and puts them through it, for the
// fidelity of what comes back. It is safe for one goroutine.
type Extractor struct {
	dev   compute.Device
	vae   *vae.Model
	model string
	side  int
	exes  map[bool]compute.Executable // by whether it reconstructs
}

// extractBatch is how many pictures go through the network at once.
const extractBatch = 8

// NewExtractor uses the autoencoder of m, which must stay open meanwhile. Pictures are scaled to the size that it was trained at.
func NewExtractor(dev compute.Device, m *catalog.Model) (*Extractor, error) {
	v, _, err := newVAE(m)
	if err != nil {
		return nil, err
	}
	if v.InChannels != 3 && v.InChannels != 4 {
		return nil, fmt.Errorf("the model %s encodes %d channels; 3 (RGB) and 4 (premultiplied RGBA) are pictures", m.Name, v.InChannels)
	}
	side := v.SampleSize
	if side <= 0 {
		side = 64
	}
	f := v.Factor()
	return &Extractor{dev: dev, vae: v, model: m.Name, side: max(side/f, 1) * f, exes: map[bool]compute.Executable{}}, nil
}

// Name says what the features are. It belongs beside every figure made of them: figures over other features do not compare.
func (e *Extractor) Name() string {
	return fmt.Sprintf("%s VAE mid-block features, not Inception", e.model)
}

// Side is the width and height that pictures are scaled to.
func (e *Extractor) Side() int { return e.side }

// Fit scales a picture to Side × Side, whatever its shape, as measuring does: what is kept of large sets.
func (e *Extractor) Fit(m image.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, e.side, e.side))
	if !m.Bounds().Empty() {
		scaleInto(out, m, draw.Src)
	}
	return out
}

// Close gives the device's memory back.
func (e *Extractor) Close() {
	for _, exe := range e.exes {
		exe.Close()
	}
	e.exes = map[bool]compute.Executable{}
}

// Features gives a row for every picture: the encoder's mid block, averaged over all places.
func (e *Extractor) Features(ctx context.Context, pictures []image.Image, progress func(done, total int)) (judge.Features, error) {
	f := judge.Features{N: len(pictures), D: e.vae.Channels[len(e.vae.Channels)-1]}
	f.X = make([]float32, f.N*f.D)
	err := e.batches(ctx, false, f.D, pictures, progress, func(i int, _, row []float32) error {
		copy(f.Row(i), row)
		return nil
	})
	return f, err
}

// Reconstruction is what pictures become by way of the latents' mean, and how much is lost on the way.
type Reconstruction struct {
	Inputs, Outputs []*image.NRGBA // at Side
	PSNR, SSIM      []float64      // over all channels, premultiplied where there is alpha
}

// Reconstruct encodes and decodes pictures.
func (e *Extractor) Reconstruct(ctx context.Context, pictures []image.Image, progress func(done, total int)) (Reconstruction, error) {
	var r Reconstruction
	c := e.vae.InChannels
	if e.vae.OutChannels != c {
		return r, fmt.Errorf("the autoencoder of %s takes %d channels and gives %d; a reconstruction has as many as the picture", e.model, c, e.vae.OutChannels)
	}
	err := e.batches(ctx, true, e.side*e.side*c, pictures, progress, func(_ int, in, out []float32) error {
		a, b := unsigned(in), unsigned(out)
		before, after := judge.Picture{H: e.side, W: e.side, C: c, X: a}, judge.Picture{H: e.side, W: e.side, C: c, X: b}
		psnr, err := judge.PSNR(before, after, 1)
		if err != nil {
			return err
		}
		ssim, err := judge.SSIM(before, after, 1)
		if err != nil {
			return err
		}
		r.PSNR, r.SSIM = append(r.PSNR, psnr), append(r.SSIM, ssim)
		r.Inputs, r.Outputs = append(r.Inputs, toPicture(a, e.side, e.side, c)), append(r.Outputs, toPicture(b, e.side, e.side, c))
		return nil
	})
	return r, err
}

func unsigned(x []float32) []float32 {
	y := append([]float32(nil), x...)
	fromSigned(y)
	return y
}

// batches runs the network over the pictures and hands each picture's input and row of n numbers on.
func (e *Extractor) batches(ctx context.Context, reconstruct bool, n int, pictures []image.Image, progress func(done, total int), take func(i int, in, row []float32) error) error {
	exe, err := e.load(ctx, reconstruct)
	if err != nil {
		return err
	}
	size := e.side * e.side * e.vae.InChannels
	in, out := make([]float32, extractBatch*size), make([]float32, extractBatch*n)
	for from := 0; from < len(pictures); from += extractBatch {
		clear(in)
		some := pictures[from:min(from+extractBatch, len(pictures))]
		for k, m := range some {
			if m == nil || m.Bounds().Empty() {
				return errors.New("an empty picture has no features; leave it out")
			}
			toSigned(in[k*size:(k+1)*size], m, e.side, e.vae.InChannels)
		}
		if err := exe.Run(ctx, map[string][]float32{"pictures": in}, map[string][]float32{"out": out}); err != nil {
			return err
		}
		for k := range some {
			row := out[k*n : (k+1)*n]
			if i := firstBad(row); i >= 0 {
				return fmt.Errorf("the autoencoder of %s gives %v for picture %d; its weights may be damaged", e.model, row[i], from+k)
			}
			if err := take(from+k, in[k*size:(k+1)*size], row); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(from+len(some), len(pictures))
		}
	}
	return ctx.Err()
}

func (e *Extractor) load(ctx context.Context, reconstruct bool) (compute.Executable, error) {
	if exe := e.exes[reconstruct]; exe != nil {
		return exe, nil
	}
	g := compute.NewGraph()
	x := g.Input("pictures", extractBatch, e.side, e.side, e.vae.InChannels)
	if reconstruct {
		mean, _ := e.vae.Encode(x)
		g.Output("out", e.vae.Decode(mean))
	} else {
		g.Output("out", e.vae.Features(x))
	}
	plan, err := g.Compile(e.dev.Limits())
	if err != nil {
		return nil, fmt.Errorf("the autoencoder: %w", err)
	}
	exe, err := e.dev.Load(ctx, plan)
	if err != nil {
		return nil, err
	}
	e.exes[reconstruct] = exe
	return exe, nil
}

// toSigned scales a picture to side × side and writes it as [side side channels] in [−1, 1]: premultiplied RGBA, or RGB over white.
func toSigned(to []float32, m image.Image, side, channels int) {
	scaled := image.NewRGBA(image.Rect(0, 0, side, side))
	op := draw.Src
	if channels == 3 {
		draw.Draw(scaled, scaled.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		op = draw.Over
	}
	scaleInto(scaled, m, op)
	for i := range side * side {
		for c := range channels {
			to[i*channels+c] = float32(scaled.Pix[4*i+c])/127.5 - 1
		}
	}
}

func scaleInto(to *image.RGBA, m image.Image, op draw.Op) {
	if m.Bounds().Size() == to.Rect.Size() {
		draw.Draw(to, to.Rect, m, m.Bounds().Min, op)
		return
	}
	xdraw.CatmullRom.Scale(to, to.Rect, m, m.Bounds(), op, nil)
}
