// Package studio is what the window needs from the engine: the contract between ui and app.
package studio

import (
	"context"

	"atelier/app/modelstore"
	"atelier/models/pipeline"
)

// Named is a choice with the id that requests carry and the label that people read.
type Named struct{ ID, Label string }

// ControlNet is a network that makes a picture follow another one. Its ID is its path, which a request's Control.Model carries.
type ControlNet struct {
	Named
	Kind string // models follow it whose Follows is the same
}

// DeviceStatus says what runs the models, and how well.
type DeviceStatus struct {
	Name       string // "OpenGL 4.5 llvmpipe"
	Health     string // "checked", or one clause of what is wrong: "host: no OpenGL 4.3"
	Detail     string // the whole story behind Health, where there is more
	OK         bool   // false shows the health as a warning
	Unproven   bool   // not checked yet: neither healthy nor a warning
	UsedBytes  int64
	TotalBytes int64 // 0 where the driver does not say
}

// Studio is the engine as the window sees it. The window opens before the engine is ready; every method but OpenModel and Generate
// returns at once, from any goroutine, before and after.
type Studio interface {
	// Ready is closed when the engine has started. Device may change then, and not later but for its bytes.
	Ready() <-chan struct{}
	// Models are what Generate can be asked for, each under a name of its own, best first; there may be none before Ready. Of a model
	// that was not opened yet nothing but the name is known: its width is 0.
	Models() []pipeline.ModelInfo
	// OpenModel opens a model of that list and says what it wants; before Ready it waits.
	OpenModel(ctx context.Context, name string) (pipeline.ModelInfo, error)
	// SetEntries says what the model manager knows: Models then lists those of it that make pictures, prompts find its adapters and
	// learned words, and ControlNets and Upscalers its networks of these kinds. It reads their headers, so it is called off the main thread.
	SetEntries(entries []modelstore.Entry)
	// Adapters lists what prompts can name: the words that are put into one (ID), and how a list calls it.
	Adapters() []Named
	// ControlNets lists those that there are.
	ControlNets() []ControlNet
	// VAEs lists the autoencoders that a model can have in place of its own: their paths, which a request's VAE carries, and labels.
	VAEs(model string) []Named
	// Upscalers lists what can enlarge pictures: their paths, which a request's Upscaler carries, and labels.
	Upscalers() []Named
	// NameOf is the name under which Models lists the model of a path.
	NameOf(path string) (string, bool)
	Samplers() []Named
	Schedules() []Named
	SchedulesFor(sampler string) []Named // those of Schedules that a sampler takes, in the same order; never empty
	Device() DeviceStatus                // meaningful after Ready
	// Generate makes the pictures of one request, or enlarges the one that a request with an Upscaler brings, whatever the model; before Ready it waits. It returns soon after ctx ends.
	Generate(ctx context.Context, model string, req pipeline.Request, progress func(pipeline.Progress)) (*pipeline.Result, error)
}

// Label finds the label for an id; an unknown id is its own label.
func Label(all []Named, id string) string {
	for _, n := range all {
		if n.ID == id {
			return n.Label
		}
	}
	return id
}
