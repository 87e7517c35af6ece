// Package pipeline joins model families into what a person asks for: words in, pictures out.
//
// A request is plain data, a result is plain images; nothing above this package sees a tensor.
package pipeline

import (
	"image"
	"io/fs"
	"time"

	"atelier/models/prompt"
)

// Request is one text-to-image job. The zero value of a field means the model's own default.
type Request struct {
	Prompt, Negative string
	VAE              string  // the path of the autoencoder in place of the model's own, for whoever opens the model; Run does not read it
	Width, Height    int     // pixels of the finished picture, after upscaling
	Steps            int     // 1–150
	CFG              float64 // classifier-free guidance scale, 1–30; 1 runs the conditional half alone
	Sampler          string  // id as in Samplers(), such as "ddim", "euler", "euler_ancestral", "dpmpp_2m"
	Schedule         string  // id as in Schedules(), such as "normal", "karras"
	Seed             uint64  // picture i of a batch uses Seed+i
	Batch            int     // 1–8
	RNG              string  // who draws the noise: id as in RNGs(), "atelier", "cpu" or "nv"

	Eta             *float64 // share of the noise that is drawn anew at every step; nil is the sampler's own
	Spacing         string   // of timesteps: "leading", "trailing" or "linspace"; "" is the model's own
	ZeroSNR         bool     // begin from pure noise, as models that were trained for it do by themselves
	ClipSkip        int      // 1 takes the text encoder's last layer, 2 the one before, …
	GuidanceRescale float64  // 0–1: how much of the contrast that guidance adds is taken back
	LoRAs           []LoRA   // beside those that the prompt names
	Wildcards       fs.FS    // what __name__ in a prompt is a file of; nil leaves such words as they are

	Init       *Pixels // the picture to begin from; nil begins from noise alone
	Strength   float64 // how much of Init is made new, 0–1; 0.75 where it is 0
	Mask       *Pixels // where Init is made new, 1 in its first channel; nil is everywhere
	MaskBlur   int     // pixels over which the new fades into the old, 0–64; 0 is 4, −1 none
	OnlyMasked bool    // work on the mask's surroundings alone, at the size asked for, and put them back
	Padding    int     // of those surroundings, in pixels of Init, 0–256; 0 is 32, −1 none

	Controls []Control // pictures that the new one follows

	Upscaler string // the path of what enlarges Init to Width × Height, in place of making a picture, for whoever opens it; Run does not read it
	About    string // with Upscaler: what Init says of how it was made ("parameters"), which the enlarged picture goes on saying

	Latents []float32   // first noise, unit variance, B C H W; nil draws it from Seed
	Noises  [][]float32 // of one picture: all further noise in order of use, in place of what Seed draws
	Answers [][]float32 // of one picture: what the denoiser is taken to answer at every call, guidance included; nil asks it
	Trace   Tracer      // nil, or receives the numbers of every step
}

// Control is a picture that a new one follows, as a ControlNet was trained to (edges, depth, poses …).
type Control struct {
	Model      string // the path of Net, for whoever opens it; Run does not read it
	Net        *ControlNet
	Picture    *Pixels
	Scale      float64 // of its influence; 1 where it is 0
	Start, End float64 // the part of the steps at which it counts; End is 1 where it is 0
}

// LoRA is an adapter by name, with its weights.
type LoRA = prompt.LoRA

// Tracer receives named tensors of a run: stepNN.noise_pred, stepNN.latents, final_latents, image (B C H W).
type Tracer func(name string, shape []int, data []float32)

// Progress is a snapshot of a running job. Images in it are never written to again.
type Progress struct {
	Phase       string        // "load", "text", "denoise", "decode", "upscale"; "tile" while a given picture is enlarged
	Step, Steps int           // finished and planned denoising steps (model evaluations for multi-stage samplers count as their step), or tiles
	Elapsed     time.Duration // since the job started
	Left        time.Duration // estimate; 0 while unknown
	Preview     *image.NRGBA  // the picture forming, at latent or decoded size; nil where unchanged
	Bytes       int64         // device memory in use
}

// Result is what a job made.
type Result struct {
	Images     []*image.NRGBA
	Seeds      []uint64
	Prompts    []string           // of every picture: alternatives and wildcards chosen
	Negatives  []string           // likewise
	LoRAs      []LoRA             // that were applied
	LoRAHashes map[string]string  // of their files by name, as A1111 writes them
	Edited     bool               // the pictures began from one that was given
	Masked     bool               // and only a part of it was made new
	Request    Request            // as run: every default filled in; without its pictures and numbers
	Seconds    map[string]float64 // by phase, and "total"
	Device     string
	PeakBytes  int64
	Model      string // name of the model
	ModelHash  string // first ten hex digits of its weights' SHA-256, as A1111 writes it
	Warnings   []string
}

// ModelInfo says what a model wants where the person is silent, and what it can do.
type ModelInfo struct {
	Name, Hash        string
	Kind              Kind // what a request's settings mean to it
	Width, Height     int  // own size, pixels
	MinSize, MaxSize  int
	SizeStep          int // sizes are multiples of this
	Steps             int
	CFG               float64
	Sampler, Schedule string
	Transparent       bool // pictures have an alpha channel
	Examples          []string
	MaxPromptTokens   int
	TextLayers        int      // of the text encoder: the most that clip skip may be; 0 where it means nothing
	Follows           string   // what ControlNet.Kind must be for the model to follow it; "" where it follows none
	Labels            []string // what a generator may be asked for; nil for any words, or none
	Prompting         string   // a sentence on how to word prompts; empty where nothing is known
	Free              bool     // an empty prompt is one too: the seed decides what is drawn
}

// Kind is the sort of model, as far as a person's choices go.
type Kind string

// The kinds of models. Generators make a picture in one step, without sampler, guidance or negative prompt.
const (
	KindDiffusion Kind = ""
	KindGenerator Kind = "generator"
)
