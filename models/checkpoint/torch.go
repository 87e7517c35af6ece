package checkpoint

import (
	"fmt"
	"math/bits"
	"strings"
)

// storage is a run of elements in a file, which tensors are views of. Its bytes are known at once in a zip archive, and after
// the whole pickle in the old stream.
type storage struct {
	dtype    DType  // "" for types that cannot be read
	class    string // Python's name of the type, for messages
	key      string
	elements int
	data     []byte
	root     *storage // of a view of another storage (before version 0.4), which begins at element from
	from     int
}

// tensorRef is a tensor as its pickle describes it.
type tensorRef struct {
	storage        *storage
	dtype          DType
	offset         int // in elements
	shape, strides []int
}

// unpickler gives a pickle's names and calls the meanings that torch gives them.
type unpickler struct {
	storages map[string]*storage
	locate   func(s *storage) error // finds a new storage's bytes; nil where they come later
	swap     bool                   // storages are big-endian
}

func (u *unpickler) machine() *machine {
	return &machine{global: named, call: u.call, build: build, persistent: u.persistent}
}

// elementTypes are torch's types by the names that classes and dtypes have.
var elementTypes = map[string]DType{
	"Double": F64, "Float": F32, "Half": F16, "BFloat16": BF16, "Long": I64, "Int": I32, "Short": I16, "Char": I8, "Byte": U8, "Bool": Bool,
	"float64": F64, "double": F64, "float32": F32, "float": F32, "float16": F16, "half": F16, "bfloat16": BF16, "int64": I64, "long": I64,
	"int32": I32, "int": I32, "int16": I16, "short": I16, "int8": I8, "uint8": U8, "bool": Bool, "uint16": U16, "uint32": U32, "uint64": U64,
	"float8_e4m3fn": F8E4M3, "float8_e5m2": F8E5M2, "Float8_e4m3fn": F8E4M3, "Float8_e5m2": F8E5M2,
	"Untyped": U8, "_Untyped": U8,
}

// attackModules and attackNames are what a pickle names only to do harm. The reader runs none of it anyway; they tell a person
// what the file is.
var (
	attackModules = map[string]bool{
		"os": true, "posix": true, "nt": true, "subprocess": true, "commands": true, "sys": true, "shutil": true, "socket": true, "runpy": true,
		"pty": true, "importlib": true, "ctypes": true, "code": true, "codeop": true, "pickle": true, "_pickle": true, "cPickle": true,
		"webbrowser": true, "http": true, "urllib": true, "urllib2": true, "requests": true, "aiohttp": true, "httplib": true, "bdb": true,
		"pdb": true, "timeit": true, "cProfile": true, "profile": true, "asyncio": true, "multiprocessing": true, "venv": true, "pip": true,
		"ensurepip": true, "marshal": true,
	}
	attackNames = map[string]bool{
		"eval": true, "exec": true, "execfile": true, "compile": true, "open": true, "getattr": true, "setattr": true, "delattr": true,
		"__import__": true, "breakpoint": true, "input": true, "apply": true, "globals": true, "locals": true, "vars": true, "help": true,
	}
)

// named gives a class or function: never anything but its name.
func named(module, name string) (any, error) {
	root, _, _ := strings.Cut(module, ".")
	builtin := root == "builtins" || root == "__builtin__"
	first, _, _ := strings.Cut(name, ".")
	if attackModules[root] || builtin && attackNames[first] {
		return nil, hostile{fmt.Errorf("it wants to call %s, as files do that attack the machine", quote(module+"."+name))}
	}
	return &global{module, name}, nil
}

// call is what a call of f makes.
func (u *unpickler) call(f any, args []any) (any, error) {
	g, ok := f.(*global)
	if !ok {
		return &object{class: f, args: args}, nil
	}
	switch g.module {
	case "collections", "builtins", "__builtin__", "torch":
		if v := collection(g.name, args); v != nil {
			return v, nil
		}
	case "torch._utils", "torch._tensor":
		return u.rebuild(g, args)
	case "_codecs":
		if s, ok := arg[string](args, 0); ok && g.name == "encode" {
			return latin1(s), nil
		}
	}
	if isNumpy(g.module) {
		if v := numpyCall(g.name, args); v != nil {
			return v, nil
		}
	}
	return &object{class: f, args: args}, nil
}

func arg[T any](args []any, i int) (v T, ok bool) {
	if i < len(args) {
		v, ok = args[i].(T)
	}
	return v, ok
}

// collection makes Python's plain collections; nil for another name.
func collection(name string, args []any) any {
	items := func() []any {
		switch x, _ := arg[any](args, 0); x := x.(type) {
		case *list:
			return x.items
		case *tuple:
			return x.items
		}
		return nil
	}
	switch name {
	case "OrderedDict", "dict":
		d := &dict{}
		for _, pair := range items() {
			switch p := pair.(type) {
			case *list:
				if len(p.items) == 2 {
					d.set(p.items[0], p.items[1])
				}
			case *tuple:
				if len(p.items) == 2 {
					d.set(p.items[0], p.items[1])
				}
			}
		}
		return d
	case "defaultdict", "Counter":
		return &dict{}
	case "set", "frozenset", "list", "deque":
		return &list{append([]any(nil), items()...)}
	case "tuple", "Size":
		return &tuple{items()}
	}
	return nil
}

// latin1 is the bytes of a text of code points below 256, in which Python 3 hides bytes from protocol 2.
func latin1(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

// rebuild is torch's functions that make tensors; their other arguments (gradients, hooks, metadata) don't matter here.
func (u *unpickler) rebuild(g *global, args []any) (any, error) {
	switch g.name {
	case "_rebuild_tensor", "_rebuild_tensor_v2":
		return u.tensor(args, "")
	case "_rebuild_tensor_v3":
		d, ok := arg[*global](args, 6)
		if !ok {
			return nil, fmt.Errorf("a tensor has no element type")
		}
		dtype, known := elementTypes[d.name]
		if !known {
			dtype = DType(d.name)
		}
		return u.tensor(args, dtype)
	case "_rebuild_parameter", "_rebuild_parameter_with_state":
		if len(args) > 0 {
			return args[0], nil
		}
	case "_rebuild_from_type", "_rebuild_from_type_v2":
		if inner, ok := arg[*tuple](args, 2); ok {
			return u.call(args[0], inner.items)
		}
	case "_rebuild_device_tensor_from_numpy":
		if a, ok := arg[*array](args, 0); ok {
			return a, nil
		}
	}
	return &object{class: g, args: args}, nil
}

// tensor is a view of a storage: storage, offset, size, stride. An empty dtype is the storage's.
func (u *unpickler) tensor(args []any, dtype DType) (any, error) {
	s, ok := arg[*storage](args, 0)
	if !ok {
		return nil, fmt.Errorf("a tensor has no storage")
	}
	t := &tensorRef{storage: s, dtype: dtype}
	if dtype == "" {
		t.dtype = s.dtype
	}
	var err error
	if t.offset, err = count(args, 1, "offset"); err != nil {
		return nil, err
	}
	if t.shape, err = counts(args, 2, "size"); err != nil {
		return nil, err
	}
	if t.strides, err = counts(args, 3, "stride"); err != nil {
		return nil, err
	}
	if len(t.shape) != len(t.strides) {
		return nil, fmt.Errorf("a tensor has %d sizes and %d strides", len(t.shape), len(t.strides))
	}
	return t, nil
}

func count(args []any, i int, what string) (int, error) {
	v, ok := arg[int64](args, i)
	if !ok || v < 0 || v > 1<<48 {
		return 0, fmt.Errorf("a tensor's %s is not a whole number from 0 up to what a file can hold", what)
	}
	return int(v), nil
}

func counts(args []any, i int, what string) ([]int, error) {
	var items []any
	switch x, _ := arg[any](args, i); x := x.(type) {
	case *tuple:
		items = x.items
	case *list:
		items = x.items
	default:
		return nil, fmt.Errorf("a tensor's %s is not a tuple", what)
	}
	if len(items) > 64 {
		return nil, fmt.Errorf("a tensor has %d axes", len(items))
	}
	list := make([]int, len(items))
	for j := range items {
		v, err := count(items, j, what)
		if err != nil {
			return nil, err
		}
		list[j] = v
	}
	return list, nil
}

// build restores a state: into inert objects and arrays; collections and tensors have none that matters (an OrderedDict's is
// _metadata).
func build(x, state any) (any, error) {
	switch x := x.(type) {
	case *object:
		x.state = append(x.state, state)
	case *array:
		return x, x.setState(state)
	case *arrayType:
		x.setState(state)
	}
	return x, nil
}

// persistent is ("storage", class, key, device, elements) and, in old streams, a view ("key", offset, elements) or none.
func (u *unpickler) persistent(id any) (any, error) {
	t, _ := id.(*tuple)
	if t == nil {
		return nil, fmt.Errorf("it refers to data outside the file")
	}
	kind, _ := arg[string](t.items, 0)
	if kind == "module" && len(t.items) > 1 {
		return t.items[1], nil // a class with its source, in old streams
	}
	class, ok := arg[*global](t.items, 1)
	key, also := arg[string](t.items, 2)
	if kind != "storage" || !ok || !also {
		return nil, fmt.Errorf("it refers to data that is not a storage")
	}
	n, err := count(t.items, 4, "storage size")
	if err != nil {
		return nil, err
	}
	s := u.storages[key]
	if s == nil {
		s = &storage{class: class.name, dtype: elementTypes[strings.TrimSuffix(class.name, "Storage")], key: key, elements: n}
		if u.locate != nil {
			if err := u.locate(s); err != nil {
				return nil, err
			}
		}
		u.storages[key] = s
	}
	if v, ok := arg[*tuple](t.items, 5); ok {
		return s.view(v.items)
	}
	return s, nil
}

// view is the part of a storage that old streams share under a name of its own.
func (s *storage) view(items []any) (*storage, error) {
	from, err := count(items, 1, "storage offset")
	if err != nil {
		return nil, err
	}
	n, err := count(items, 2, "storage size")
	if err != nil {
		return nil, err
	}
	return &storage{dtype: s.dtype, class: s.class, key: s.key, elements: n, root: s, from: from}, nil
}

// bytes is a storage's bytes, once they are known.
func (s *storage) bytes() ([]byte, error) {
	if s.root == nil {
		return s.data, nil
	}
	data, size := s.root.data, s.dtype.Size()
	if s.from+s.elements > len(data)/max(size, 1) {
		return nil, fmt.Errorf("a view of storage %s reaches beyond its end", quote(s.key))
	}
	return data[s.from*size : (s.from+s.elements)*size], nil
}

// open makes a tensor of a file that is limit bytes long; the error is a phrase that follows the tensor's name.
func (r *tensorRef) open(name, file string, swap bool, limit int) (Tensor, error) {
	t := Tensor{Name: name, DType: r.dtype, Shape: r.shape, file: file}
	size := r.dtype.Size()
	if size == 0 {
		class := r.storage.class
		if r.dtype != "" {
			class = string(r.dtype)
		}
		return t, fmt.Errorf("has the element type %s, which is not read", quote(class))
	}
	data, err := r.storage.bytes()
	if err != nil {
		return t, fmt.Errorf("cannot be read: %w", err)
	}
	n, last := uint64(1), uint64(r.offset)
	for i, d := range r.shape {
		hi, lo := bits.Mul64(n, uint64(d))
		up, step := bits.Mul64(uint64(max(d-1, 0)), uint64(r.strides[i]))
		if hi != 0 || up != 0 || lo > 1<<48 || step > 1<<48 {
			return t, fmt.Errorf("has a shape whose size overflows: %v with strides %v", r.shape[:min(len(r.shape), 8)], r.strides[:min(len(r.strides), 8)])
		}
		n, last = lo, last+step
	}
	have := len(data) / size
	switch {
	case n == 0:
		t.Data = []byte{}
		return t, nil
	case last >= uint64(have):
		return t, fmt.Errorf("reaches to element %d of a storage of %d", last, have)
	case n*uint64(size) > uint64(limit):
		return t, fmt.Errorf("has %d elements, more than the file could hold", n) // an expanded view
	}
	if rowMajor(r.shape, r.strides) && (!swap || size == 1) {
		t.Data = data[r.offset*size:][: n*uint64(size) : n*uint64(size)]
		return t, nil
	}
	t.view = &view{data, r.offset, r.strides, swap}
	return t, nil
}
