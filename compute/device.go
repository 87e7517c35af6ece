package compute

import "context"

// Device runs plans. Implementations: compute/opengl and compute/host.
type Device interface {
	// Name is what a person reads, such as "OpenGL 4.5 llvmpipe".
	Name() string
	// Limits is what Compile needs to know.
	Limits() Limits
	// Load uploads the plan's parameters (each Source once a device), builds its programs and reserves its slots.
	// It refuses a plan that does not fit, before anything is allocated.
	Load(ctx context.Context, p *Plan) (Executable, error)
	// Memory is the device memory held by loaded plans now and at its peak, in bytes.
	Memory() (used, peak int64)
	// Close frees everything.
	Close()
}

// Executable is a loaded plan. It runs one replay at a time; callers serialise.
type Executable interface {
	// Run replays the plan: in holds every input by name, row-major; out receives the outputs named in it.
	// Slices must have the tensors' exact sizes. It stops between launches when ctx ends.
	Run(ctx context.Context, in, out map[string][]float32) error
	// Close gives slots and unshared parameters back.
	Close()
}

// Evaluate compiles g, runs it once and gives its outputs by name, row-major: for what is computed one time. in holds every input.
func Evaluate(ctx context.Context, dev Device, g *Graph, in map[string][]float32) (map[string][]float32, error) {
	plan, err := g.Compile(dev.Limits())
	if err != nil {
		return nil, err
	}
	exe, err := dev.Load(ctx, plan)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	out := map[string][]float32{}
	for _, o := range plan.Outputs {
		out[o.Name] = make([]float32, o.T.shape.Size())
	}
	return out, exe.Run(ctx, in, out)
}
