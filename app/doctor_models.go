package main

import (
	"fmt"

	"atelier/app/engine"
	"atelier/app/modelstore"
	"atelier/assets"
	"atelier/compute"
	"atelier/models/pipeline"
)

// need is what a model takes on the device for one picture of its own size.
type need struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"` // "" for the built-in model
	Peak    int64  `json:"peak_bytes"`
	Least   int64  `json:"least_bytes,omitempty"` // with weights that take turns on the device
	Verdict string `json:"verdict"`
}

// modelNeeds foretells the peaks of the built-in model and of the whole models of the latest scan, against the memory of the device,
// or of the machine where the device does not say.
func modelNeeds(e *engine.Engine, m machine) []need {
	available := e.Device.Limits().MemoryBytes
	if available == 0 {
		available = m.Memory
	}
	var list []need
	add := func(n need) {
		switch {
		case available == 0:
			n.Verdict = "memory unknown"
		case n.Peak <= available:
			n.Verdict = "fits"
		case n.Least > 0 && n.Least <= available:
			n.Verdict = "fits with weights that take turns on the device, which is slower"
		default:
			n.Verdict = "does not fit"
		}
		list = append(list, n)
	}
	if built, err := engine.OpenModel(assets.StickerName); err == nil {
		if peak, least, err := pipeline.Predict(built, e.Device.Limits()); err == nil {
			add(need{Name: assets.StickerName, Peak: peak, Least: least})
		}
		built.Close()
	}
	store, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return list
	}
	for _, x := range store.Entries() {
		if x.Whole() && x.Usable() && x.Memory.Bytes > 0 {
			add(need{Name: x.Name, Path: x.Path, Peak: x.Memory.Bytes, Least: x.Memory.Least})
		}
	}
	return list
}

func printNeeds(list []need) {
	for i, n := range list {
		head := "         "
		if i == 0 {
			head = "Models   "
		}
		fmt.Printf("%s %s: %s at the peak, %s\n", head, n.Name, compute.FormatBytes(n.Peak), n.Verdict)
	}
}
