package pipeline

import (
	"slices"

	"atelier/models/prompt"
)

// script is the words of one picture.
type script struct {
	prompt, negative string // alternatives and wildcards chosen, with all adapters
	cond, uncond     []prompt.Phase
	loras            []LoRA
}

// Streams of the choices that prompts leave to the seed.
const (
	promptStream = iota + 1
	negativeStream
)

// script reads a request's prompts for the picture with its seed.
func newScript(r Request) (*script, error) {
	s := &script{}
	var err error
	if s.prompt, err = prompt.Expand(r.Prompt, r.Seed, promptStream, r.Wildcards); err != nil {
		return nil, err
	}
	if s.negative, err = prompt.Expand(r.Negative, r.Seed, negativeStream, r.Wildcards); err != nil {
		return nil, err
	}
	text, loras := prompt.LoRAs(s.prompt)
	negative, _ := prompt.LoRAs(s.negative)
	s.cond, s.uncond = prompt.Schedule(text, r.planned()), prompt.Schedule(negative, r.planned())
	for _, l := range r.LoRAs {
		if !slices.ContainsFunc(loras, func(named LoRA) bool { return named.Name == l.Name }) {
			s.loras = append(s.loras, l)
			s.prompt += " " + l.String()
		}
	}
	s.loras = append(s.loras, loras...)
	return s, nil
}

// texts lists the different texts of a picture; those of the negative prompt only where it is used.
func (s *script) texts(guided bool) (list []string) {
	phases := slices.Clone(s.cond)
	if guided {
		phases = append(phases, s.uncond...)
	}
	for _, p := range phases {
		if !slices.Contains(list, p.Text) {
			list = append(list, p.Text)
		}
	}
	return list
}

// planned is the steps that a request runs: all, or the last of them where it begins from a picture.
func (r *Request) planned() int {
	if r.Init == nil {
		return r.Steps
	}
	return min(max(int(float64(r.Steps)*r.Strength), 1), r.Steps)
}
