package checkpoint

import (
	"fmt"
	"strconv"
)

// wrappers are the names under which programs save a state dict beside other things, in order of preference: Lightning,
// BasicSR (averaged weights first), plain training loops, GAN training.
var wrappers = []string{"state_dict", "params_ema", "params", "model_state_dict", "model", "net", "g_ema", "generator"}

const maxNesting = 32 // of collections within a state dict

// field is a named value of a collection.
type field struct {
	name  string
	value any
}

// fields are what a collection holds by name: a dict's text and number keys, a list's places, a module's parameters, buffers
// and modules.
func fields(v any) []field {
	var fs []field
	add := func(d *dict) {
		for i, k := range d.keys {
			switch k := k.(type) {
			case string:
				fs = append(fs, field{k, d.values[i]})
			case int64:
				fs = append(fs, field{strconv.FormatInt(k, 10), d.values[i]})
			}
		}
	}
	number := func(items []any) {
		for i, x := range items {
			fs = append(fs, field{strconv.Itoa(i), x})
		}
	}
	switch v := v.(type) {
	case *dict:
		add(v)
	case *list:
		number(v.items)
	case *tuple:
		number(v.items)
	case *object:
		add(&v.dict)
		number(v.items)
		for _, s := range v.state {
			if t, ok := s.(*tuple); ok && len(t.items) > 0 { // with slots
				s = t.items[0]
			}
			if d, ok := s.(*dict); ok {
				moduleFields(d, add)
			}
		}
	}
	return fs
}

// moduleFields adds what a torch module keeps in these, or all of a state that isn't a module's.
func moduleFields(state *dict, add func(*dict)) {
	module := false
	for _, part := range []string{"_parameters", "_buffers", "_modules"} {
		if v, ok := state.get(part); ok {
			module = true
			if d, ok := v.(*dict); ok {
				add(d)
			}
		}
	}
	if !module {
		add(state)
	}
}

// walk calls leaf for every tensor below v with its dotted name. Each collection is entered once, so cycles and shared
// collections end.
func walk(v any, leaf func(name string, tensor any) error) error {
	seen := map[any]bool{}
	var enter func(v any, prefix string, depth int) error
	enter = func(v any, prefix string, depth int) error {
		switch v.(type) {
		case *tensorRef, *array:
			return leaf(prefix, v)
		case *dict, *list, *tuple, *object:
		default:
			return nil
		}
		if seen[v] || depth > maxNesting {
			return nil
		}
		seen[v] = true
		for _, f := range fields(v) {
			name := f.name
			if prefix != "" {
				name = prefix + "." + name
			}
			if err := enter(f.value, name, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return enter(v, "", 0)
}

// holdsTensors reports whether a tensor lies anywhere below v.
func holdsTensors(v any) bool {
	found := fmt.Errorf("found")
	return walk(v, func(string, any) error { return found }) != nil
}

// stateDict goes from what a program saved down to the tensors of its model.
func stateDict(v any) any {
	for range 4 {
		inner := any(nil)
		for _, name := range wrappers {
			for _, f := range fields(v) {
				if inner == nil && f.name == name && holdsTensors(f.value) {
					switch f.value.(type) {
					case *dict, *object:
						inner = f.value
					}
				}
			}
		}
		if inner == nil {
			return v
		}
		v = inner
	}
	return v
}

// adopt makes f the tensors of a pickled checkpoint; limit is the bytes of the file.
func (f *File) adopt(root any, swap bool, limit int) error {
	for _, x := range fields(root) {
		switch v := x.value.(type) {
		case string:
			f.metadata[x.name] = v
		case int64, float64, bool:
			f.metadata[x.name] = fmt.Sprint(v)
		}
	}
	err := walk(stateDict(root), func(name string, v any) error {
		ref, big := (*tensorRef)(nil), swap
		switch v := v.(type) {
		case *tensorRef:
			ref = v
		case *array:
			ref, big = v.ref()
		}
		if _, twice := f.tensors[name]; twice {
			return fmt.Errorf("two tensors are called %s", quote(name))
		}
		t, err := ref.open(name, f.name, big, limit)
		if err != nil {
			return fmt.Errorf("tensor %s %w", quote(name), err)
		}
		f.tensors[name] = t
		return nil
	})
	if err == nil && len(f.tensors) == 0 {
		err = fmt.Errorf("it holds no tensors")
	}
	return err
}
