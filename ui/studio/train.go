package studio

import (
	"context"

	"atelier/app/training"
)

// EventWaiting is an event of a run that lets another job have the device: Message says which. The next event of another kind ends
// the wait.
const EventWaiting = "waiting"

// Use says how something is used in the image workspace.
type Use struct {
	Model   string // to choose; empty keeps the chosen one
	Words   string // to put into the prompt, such as "<lora:name:1>"; empty leaves it
	Example string // a whole prompt with these words, for one who has not written any; may be empty
}

// Trainer is the part of the engine that trains, as the window sees it.
type Trainer interface {
	// TrainingFolder is where runs are kept, a folder for each. It need not exist.
	TrainingFolder() string
	// Bases lists the models that training can start from, the built-in one first. It returns at once.
	Bases() []Named
	// Train goes on with a run until it is done, and lets pictures that are asked for meanwhile be made between its steps. Where ctx
	// ends it saves the run first. Events come on one goroutine.
	Train(ctx context.Context, run *training.Run, events func(training.Event)) (*training.Outcome, error)
	// Adopt makes what a run made usable in the image workspace.
	Adopt(ctx context.Context, o *training.Outcome) (Use, error)
}
