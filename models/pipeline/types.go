// Package pipeline joins model families into what a person asks for: words in, pictures out.
//
// A request is plain data, a result is plain images; nothing above this package sees a tensor.
package pipeline

import (
	"image"
	"time"
)

// Request is one text-to-image job. The zero value of a field means the model's own default.
type Request struct {
	Prompt, Negative string
	Width, Height    int     // pixels of the finished picture, after upscaling
	Steps            int     // 1–150
	CFG              float64 // classifier-free guidance scale, 1–30; 1 runs the conditional half alone
	Sampler          string  // id as in Samplers(), such as "ddim", "euler", "euler_ancestral", "dpmpp_2m"
	Schedule         string  // id as in Schedules(), such as "normal", "karras"
	Seed             uint64  // picture i of a batch uses Seed+i
	Batch            int     // 1–8

	LoRAs []LoRA // adapters that are added to the model's weights

	Latents []float32 // first noise, unit variance, B C H W; nil draws it from Seed
	Trace   Tracer    // nil, or receives the numbers of every step
}

// Tracer receives named tensors of a run: stepNN.noise_pred, stepNN.latents, final_latents, image (B C H W).
type Tracer func(name string, shape []int, data []float32)

// Progress is a snapshot of a running job. Images in it are never written to again.
type Progress struct {
	Phase       string        // "load", "text", "denoise", "decode", "upscale"
	Step, Steps int           // finished and planned denoising steps (model evaluations for multi-stage samplers count as their step)
	Elapsed     time.Duration // since the job started
	Left        time.Duration // estimate; 0 while unknown
	Preview     *image.NRGBA  // the picture forming, at latent or decoded size; nil where unchanged
	Bytes       int64         // device memory in use
}

// Result is what a job made.
type Result struct {
	Images    []*image.NRGBA
	Seeds     []uint64
	Request   Request            // as run: every default filled in
	Seconds   map[string]float64 // by phase, and "total"
	Device    string
	PeakBytes int64
	Model     string // name of the model
	ModelHash string // first ten hex digits of its weights' SHA-256, as A1111 writes it
	Warnings  []string
}

// ModelInfo says what a model wants where the person is silent, and what it can do.
type ModelInfo struct {
	Name, Hash        string
	Width, Height     int // own size, pixels
	MinSize, MaxSize  int
	SizeStep          int // sizes are multiples of this
	Steps             int
	CFG               float64
	Sampler, Schedule string
	Transparent       bool // pictures have an alpha channel
	Examples          []string
	MaxPromptTokens   int
}
