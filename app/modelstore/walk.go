package modelstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"atelier/app/disk"
)

// Problem is something in the way of a scan, such as a folder that may not be read.
type Problem struct {
	Path   string `json:"path"`
	Reason string `json:"reason"` // a clause
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %s", p.Path, p.Reason) }

// candidate is a file or folder that may be a model.
type candidate struct {
	path   string
	real   string // path with its links followed
	info   fs.FileInfo
	folder bool // in the layout of diffusers or transformers
	shards int  // number of files that path is the first of; 0 for a single one
	size   int64
	beside *listing // of its folder
	place  place
	link   Folder
}

// listing is the names in a folder, read once for all its candidates.
type listing struct {
	names   []string
	has     map[string]bool
	indexed map[string]bool     // the files that an index names
	parts   map[string][]string // the files of models in numbered parts, by all but their number
}

func listingOf(dir string, names []string) *listing {
	l := &listing{names: names, has: make(map[string]bool, len(names)), indexed: shardsIn(dir, names), parts: map[string][]string{}}
	for _, n := range names {
		l.has[n] = true
		if m := shardName.FindStringSubmatch(n); m != nil {
			l.parts[partKey(m)] = append(l.parts[partKey(m)], n)
		}
	}
	return l
}

func partKey(m []string) string { return m[1] + "/" + m[3] + "." + m[4] }

// walker looks through folders. Each real folder is entered once, so links that lead in circles end.
type walker struct {
	ctx       context.Context
	tell      func(path, problem string)
	progress  func(files int)
	seenDirs  map[string]bool
	seenFiles map[string]bool
	found     []candidate
	vocab     []string // folders with a vocabulary
	files     int
}

// extensions of files that may hold tensors.
var extensions = []string{".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}

// notModels are files with such extensions that training leaves.
var notModels = regexp.MustCompile(`^(optimizer|scheduler|training_args|random_states.*|rng_state.*|scaler)\.(bin|pt|pth)$`)

const deepest = 16 // folders below a place

func (w *walker) place(p place, link Folder) {
	real, err := filepath.EvalSymlinks(p.dir)
	if err != nil {
		w.unreadable(p.dir, err)
		return
	}
	w.dir(p.dir, real, p, link, deepest)
}

func (w *walker) unreadable(path string, err error) {
	switch {
	case strings.Contains(err.Error(), "too many links"):
		w.tell(path, "this link leads in a circle")
	case os.IsNotExist(err):
		w.tell(path, "this link leads nowhere")
	default:
		w.tell(path, "it cannot be read: "+disk.Reason(err))
	}
}

func (w *walker) dir(path, real string, p place, link Folder, depth int) {
	if w.ctx.Err() != nil || w.seenDirs[real] {
		return
	}
	w.seenDirs[real] = true
	entries, err := os.ReadDir(path)
	if err != nil {
		w.tell(path, "this folder cannot be read: "+disk.Reason(err))
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	w.files += len(entries)
	if w.progress != nil {
		w.progress(w.files)
	}
	here := listingOf(path, names)
	model := w.modelFolder(path, real, here, p, link)
	if holdsVocabulary(names) {
		w.vocab = append(w.vocab, path)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		full := filepath.Join(path, name)
		isDir, child := e.IsDir(), filepath.Join(real, name)
		if e.Type()&fs.ModeSymlink != 0 {
			if child, isDir = w.follow(full); child == "" {
				continue
			}
		}
		switch {
		case isDir && (model || slices.Contains(skipped, name)):
			if strings.HasPrefix(name, "tokenizer") {
				w.tokenizer(full)
			}
		case isDir && depth == 0:
			w.tell(full, fmt.Sprintf("folders more than %d deep are not looked into", deepest))
		case isDir:
			w.dir(full, child, p, link, depth-1)
		default:
			w.file(full, child, here, model, p, link)
		}
	}
}

// skipped are folders that hold no models and very many files.
var skipped = []string{"node_modules", "__pycache__", "venv", "site-packages"}

// follow resolves a link. Links to nowhere and in circles are told of, where they could have been models or folders of some.
func (w *walker) follow(path string) (real string, isDir bool) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(real); err == nil {
			return real, info.IsDir()
		}
	}
	if ext := strings.ToLower(filepath.Ext(path)); ext == "" || slices.Contains(extensions, ext) {
		w.unreadable(path, err)
	}
	return "", false
}

func (w *walker) tokenizer(path string) {
	if holdsVocabulary(dirNames(path)) {
		w.vocab = append(w.vocab, path)
	}
}

// modelFolder takes a folder that is one model as a whole.
func (w *walker) modelFolder(path, real string, here *listing, p place, link Folder) bool {
	if !isWhole(path, here) && (!here.has["config.json"] || configClass(filepath.Join(path, "config.json")) == "" || !slices.ContainsFunc(here.names, isComponent)) {
		return false
	}
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	w.found = append(w.found, candidate{path: path, real: real, info: info, folder: true, size: folderSize(path), beside: here, place: p, link: link})
	return true
}

// isWhole knows folders that hold a whole model: in the layout of diffusers, or made by training here.
func isWhole(path string, here *listing) bool {
	return here.has["model_index.json"] || here.has["atelier.json"] && configClass(filepath.Join(path, "generator", "config.json")) != ""
}

// isComponent knows the weights that diffusers and transformers keep in a folder of one network.
func isComponent(name string) bool {
	if !slices.Contains(extensions, filepath.Ext(name)) && !strings.HasSuffix(name, ".index.json") {
		return false
	}
	return strings.HasPrefix(name, "diffusion_pytorch_model") || strings.HasPrefix(name, "model.") || strings.HasPrefix(name, "model-0") || strings.HasPrefix(name, "pytorch_model")
}

// configClass is the class of network that a config.json names; "" where it names none.
func configClass(path string) string {
	var c struct {
		Class         string   `json:"_class_name"`
		Architectures []string `json:"architectures"`
	}
	if readJSON(path, &c) != nil {
		return ""
	}
	if c.Class == "" && len(c.Architectures) > 0 {
		return c.Architectures[0]
	}
	return c.Class
}

// readJSON reads a small JSON file.
func readJSON(path string, v any) error {
	data, err := readSmall(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// readSmall reads a regular file of at most 4 MB.
func readSmall(path string) ([]byte, error) {
	const most = 4 << 20
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", filepath.Base(path))
	case info.Size() > most:
		return nil, fmt.Errorf("%s is larger than %d MB", filepath.Base(path), most>>20)
	}
	return os.ReadFile(path)
}

func folderSize(path string) (n int64) {
	left := 10_000 // a folder of a model holds a few dozen files
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if left--; left < 0 {
			return filepath.SkipAll
		}
		if err == nil && !d.IsDir() {
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

var shardName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.(safetensors|bin|gguf)$`)

// shardsIn finds the files of a folder that an index in it names.
func shardsIn(dir string, names []string) map[string]bool {
	indexed := map[string]bool{}
	for _, name := range names {
		if !strings.Contains(name, ".index.") || !strings.HasSuffix(name, ".json") {
			continue
		}
		var index struct {
			Map map[string]string `json:"weight_map"`
		}
		if readJSON(filepath.Join(dir, name), &index) == nil {
			for _, shard := range index.Map {
				indexed[shard] = true
			}
		}
	}
	return indexed
}

// file takes what may be a model; model says that its folder is one, whose own files don't count.
func (w *walker) file(path, real string, here *listing, model bool, p place, link Folder) {
	name := filepath.Base(path)
	ext := strings.ToLower(filepath.Ext(name))
	isIndex := strings.Contains(name, ".index.") && ext == ".json"
	if !isIndex && !slices.Contains(extensions, ext) || notModels.MatchString(name) || here.indexed[name] || model && isComponent(name) {
		return
	}
	c := candidate{path: path, real: real, beside: here, place: p, link: link}
	if m := shardName.FindStringSubmatch(name); m != nil {
		if m[2] != "00001" {
			return
		}
		c.shards = len(here.parts[partKey(m)])
	}
	if w.seenFiles[real] {
		return
	}
	w.seenFiles[real] = true
	info, err := os.Stat(path)
	if err != nil {
		w.unreadable(path, err)
		return
	}
	if !info.Mode().IsRegular() {
		return
	}
	c.info, c.size = info, c.fileSizes()
	w.found = append(w.found, c)
}

// fileSizes is the bytes of a candidate's files that are there.
func (c *candidate) fileSizes() (n int64) {
	for _, f := range c.files() {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

// files lists the files of a candidate that is no folder, its own first.
func (c *candidate) files() []string {
	list := []string{c.path}
	dir, name := filepath.Split(c.path)
	switch {
	case c.shards > 0:
		for _, n := range c.beside.parts[partKey(shardName.FindStringSubmatch(name))] {
			if n != name {
				list = append(list, filepath.Join(dir, n))
			}
		}
	case strings.HasSuffix(name, ".json"):
		for n := range shardsIn(dir, []string{name}) {
			if filepath.Base(n) == n {
				list = append(list, filepath.Join(dir, n))
			}
		}
		slices.Sort(list[1:])
	}
	return list
}
