package modelstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"atelier/app/disk"
	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/pipeline"

	"github.com/adrg/xdg"
)

// Options say where a store keeps things. The zero value is this person's own.
type Options struct {
	Config string // the file with the folders; "" is atelier/models.json in the configuration folder
	Cache  string // the file with what was found in them; "" is atelier/models.json in the cache folder
	Home   string // where well-known folders of other programs are looked for; "" is the home folder

	// Predict is the memory that a whole model needs at its peak, and with one network at a time and weights streamed; nil predicts for
	// a usual graphics card.
	Predict func(m *catalog.Model) (all, least int64, err error)
}

// Origin is how a folder came to be looked through.
type Origin string

// The studio's own folder, those that the person linked, and those of other programs that were found in their usual places.
const (
	OriginOwn    Origin = "own"
	OriginLinked Origin = "linked"
	OriginFound  Origin = "found"
)

// Folder is a folder of models, or an extra_model_paths.yaml that names some.
type Folder struct {
	Path    string  `json:"path"`
	Program Program `json:"program"`
	Origin  Origin  `json:"origin"`
}

// choices is the file of what the person chose.
type choices struct {
	Own      string            `json:"folder,omitempty"`
	Linked   []string          `json:"linked,omitempty"`
	Hidden   []string          `json:"hidden,omitempty"` // found ones that the person unlinked
	Tokens   map[string]string `json:"tokens,omitempty"` // by host
	Source   string            `json:"source,omitempty"` // in place of the hosts of the catalogue
	Limit    int64             `json:"limit,omitempty"`  // bytes a second
	Accepted []string          `json:"accepted,omitempty"`
}

// Store is the models on this machine. Its methods may be called from any goroutine.
type Store struct {
	o Options

	mu      sync.Mutex
	chosen  choices
	cache   *cache
	entries []Entry
	scanned bool
	hashing sync.Mutex // one file is read at a time
}

// Open reads the person's choices and what is known from the last scan. Files that are missing or damaged begin anew; damage to the
// choices is an error, for they are the person's.
func Open(o Options) (*Store, error) {
	if o.Config == "" {
		o.Config = filepath.Join(xdg.ConfigHome, "atelier", "models.json")
	}
	if o.Cache == "" {
		o.Cache = filepath.Join(xdg.CacheHome, "atelier", "models.json")
	}
	if o.Home == "" {
		o.Home = xdg.Home
	}
	if o.Predict == nil {
		o.Predict = func(m *catalog.Model) (int64, int64, error) { return pipeline.Predict(m, desktop) }
	}
	s := &Store{o: o, cache: readCache(o.Cache)}
	data, err := os.ReadFile(o.Config)
	if err == nil {
		err = json.Unmarshal(data, &s.chosen)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the list of model folders in %s cannot be read (%v); mend or remove it", o.Config, disk.Plain(err))
	}
	return s, nil
}

// desktop are the limits of a usual graphics card with OpenGL 4.3.
var desktop = compute.Limits{Shaders: true, Groups: [3]int{65535, 65535, 65535}, SharedBytes: 32 << 10, Invocations: 1024, StorageBytes: 2 << 30, TextureTexels: 128 << 20}

// change alters the person's choices and saves them.
func (s *Store) change(f func(c *choices)) error {
	f(&s.chosen)
	data, err := json.MarshalIndent(s.chosen, "", "  ")
	if err == nil {
		err = disk.Replace(s.o.Config, append(data, '\n'), 0o600) // it may hold tokens
	}
	if err != nil {
		return fmt.Errorf("the list of model folders could not be saved in %s: %s", s.o.Config, disk.Reason(err))
	}
	return nil
}

// Own is the studio's own folder of models, which imports and downloads go to.
func (s *Store) Own() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own()
}

func (s *Store) own() string {
	if s.chosen.Own != "" {
		return s.chosen.Own
	}
	return filepath.Join(xdg.DataHome, "atelier", "models")
}

// SetOwn chooses the studio's own folder; "" is the usual one. What is in the old one stays there.
func (s *Store) SetOwn(path string) error {
	if path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(abs, 0o755); err != nil {
			return fmt.Errorf("the folder %s cannot be made: %s", path, disk.Reason(err))
		}
		path = abs
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(func(c *choices) { c.Own = path })
}

// Folders lists the folders that a scan looks through: the studio's own, linked ones, and those of other programs in their usual places.
func (s *Store) Folders() []Folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Folder{{s.own(), Own, OriginOwn}}
	have := func(path string) bool {
		return slices.ContainsFunc(list, func(f Folder) bool { return same(f.Path, path) })
	}
	for _, path := range s.chosen.Linked {
		if !have(path) {
			list = append(list, Folder{path, Detect(path), OriginLinked})
		}
	}
	for _, path := range s.usual() {
		if _, err := os.Stat(path); err != nil || have(path) || slices.Contains(s.chosen.Hidden, path) {
			continue
		}
		if program := Detect(path); program != Plain {
			list = append(list, Folder{path, program, OriginFound})
		}
	}
	return list
}

// same reports whether two paths are one folder.
func same(a, b string) bool {
	if a == b {
		return true
	}
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// usual lists where other programs keep their models by themselves.
func (s *Store) usual() []string {
	var list []string
	for _, env := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if v := os.Getenv(env); v != "" {
			list = append(list, v)
		}
	}
	if v := os.Getenv("HF_HOME"); v != "" {
		list = append(list, filepath.Join(v, "hub"))
	}
	for _, name := range []string{
		".cache/huggingface/hub", ".lmstudio", ".cache/lm-studio", "ComfyUI", "Documents/ComfyUI", "comfy/ComfyUI", "stable-diffusion-webui",
		"stable-diffusion-webui-forge", "stable-diffusion-webui-reForge", "sd-webui-forge", "Documents/stable-diffusion-webui", "AI/ComfyUI", "AI/stable-diffusion-webui",
	} {
		list = append(list, filepath.Join(s.o.Home, filepath.FromSlash(name)))
	}
	return list
}

// Link adds a folder of another program, or an extra_model_paths.yaml. Nothing in it is copied or changed.
func (s *Store) Link(path string) (Folder, error) {
	if path == "" { // which would be wherever the program was started
		return Folder{}, errors.New("no folder is named; name the one to link")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Folder{}, err
	}
	info, err := os.Stat(abs)
	switch {
	case err != nil:
		return Folder{}, fmt.Errorf("%s cannot be linked: %s", path, disk.Reason(err))
	case !info.IsDir() && !isExtraPaths(abs):
		return Folder{}, fmt.Errorf("%s cannot be linked: it is a file; link its folder, or bring the file in with import", path)
	}
	if _, err := os.ReadDir(abs); info.IsDir() && err != nil {
		return Folder{}, fmt.Errorf("%s cannot be linked: %s", path, disk.Reason(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := Folder{abs, Detect(abs), OriginLinked}
	if same(abs, s.own()) {
		return Folder{}, fmt.Errorf("%s is the studio's own folder and is looked through anyway", path)
	}
	return f, s.change(func(c *choices) {
		c.Hidden = slices.DeleteFunc(c.Hidden, func(h string) bool { return h == abs })
		if !slices.ContainsFunc(c.Linked, func(l string) bool { return same(l, abs) }) {
			c.Linked = append(c.Linked, abs)
		}
	})
}

// Unlink leaves a folder out of further scans. Nothing in it is changed.
func (s *Store) Unlink(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	folders := s.Folders()
	at := slices.IndexFunc(folders, func(f Folder) bool { return f.Path == abs || same(f.Path, abs) })
	if at < 0 {
		return fmt.Errorf("%s is not linked; the folders that are: %s", path, paths(folders))
	}
	f := folders[at]
	if f.Origin == OriginOwn {
		return fmt.Errorf("%s is the studio's own folder; choose another one instead of unlinking it", path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = slices.DeleteFunc(s.entries, func(e Entry) bool { return e.Folder == f.Path })
	maps.DeleteFunc(s.cache.Models, func(_ string, c cached) bool { return c.Folder == f.Path })
	if err := s.cache.write(s.o.Cache); err != nil {
		return fmt.Errorf("the list of models could not be kept in %s: %s", s.o.Cache, disk.Reason(err))
	}
	return s.change(func(c *choices) {
		c.Linked = slices.DeleteFunc(c.Linked, func(l string) bool { return l == f.Path })
		if slices.Contains(s.usual(), f.Path) {
			c.Hidden = append(c.Hidden, f.Path)
		}
	})
}

func paths(list []Folder) string {
	var names []string
	for _, f := range list {
		names = append(names, f.Path)
	}
	return strings.Join(names, ", ")
}

// Scanning is how far a scan is.
type Scanning struct {
	Files  int // that were looked at
	Models int // that were found
	Read   int // of those, whose headers are read
}

// Scan looks through all folders and gives every model, by name, with what was in the way, each thing once. Files that did not change since
// the last scan are not opened. Where ctx ends, nothing is kept.
func (s *Store) Scan(ctx context.Context, progress func(Scanning)) ([]Entry, []Problem, error) {
	var problems []Problem
	told := map[Problem]bool{}
	tell := func(path, reason string) {
		if p := (Problem{path, reason}); !told[p] {
			told[p], problems = true, append(problems, p)
		}
	}
	var now Scanning
	report := func(change func()) {
		change()
		if progress != nil {
			progress(now)
		}
	}
	w := &walker{ctx: ctx, tell: tell, seenDirs: map[string]bool{}, seenFiles: map[string]bool{}}
	w.progress = func(n int) { report(func() { now.Files, now.Models = n, len(w.found) }) }
	for _, f := range s.Folders() {
		if _, err := os.Stat(f.Path); err != nil {
			if f.Origin == OriginLinked {
				tell(f.Path, "this linked folder cannot be read: "+disk.Reason(err)+"; unlink it if it is gone for good")
			}
			continue
		}
		list := places(f.Program, f.Path, tell)
		if f.Program == Own {
			list = append(existing(withSubs(f.Path, comfyKinds)), place{dir: f.Path})
		}
		w.vocab = append(w.vocab, vocabularyFolders(f.Path)...)
		for _, p := range list {
			w.place(p, f)
		}
	}
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	now.Models = len(w.found)
	entries, err := s.readAll(ctx, w.found, func() { report(func() { now.Read++ }) })
	if err != nil {
		return nil, nil, err
	}
	entries = Search(entries, Query{})
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range entries { // a file may have been hashed meanwhile
		entries[i].Hashes = s.cache.Models[entries[i].Path].Hashes
	}
	s.entries, s.scanned = entries, true
	s.cache.Vocabularies = w.vocab
	s.cache.prune(w.found)
	if err := s.cache.write(s.o.Cache); err != nil {
		tell(s.o.Cache, "what was found could not be kept for the next time: "+disk.Reason(err))
	}
	return slices.Clone(entries), problems, nil
}

// readAll identifies candidates, a few at a time; done is called for each, one call at a time.
func (s *Store) readAll(ctx context.Context, found []candidate, done func()) ([]Entry, error) {
	out := make([]*Entry, len(found))
	next := make(chan int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(4, runtime.NumCPU()) {
		wg.Go(func() {
			for i := range next {
				e, keep := s.entry(found[i])
				mu.Lock()
				if keep {
					out[i] = &e
				}
				done()
				mu.Unlock()
			}
		})
	}
	for i := range found {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	var list []Entry
	for _, e := range out {
		if e != nil {
			list = append(list, *e)
		}
	}
	return list, ctx.Err()
}

// entry is what is known of a candidate, from the cache where it did not change. Files called .bin that are no models and lie outside
// folders for models are left out.
func (s *Store) entry(c candidate) (Entry, bool) {
	key := c.stamp()
	s.mu.Lock()
	known, ok := s.cache.Models[c.path]
	s.mu.Unlock()
	e := known.Entry
	if !ok || known.Stamp != key {
		e = s.identify(c)
		weights := c.weights() // before the lock, which the window waits for: it asks the disk
		s.mu.Lock()
		e.Hashes = Hashes{}
		if known := s.cache.Models[c.path]; known.Weights == weights { // only what lies beside it changed
			e.Hashes = known.Hashes
		}
		s.cache.Models[c.path] = cached{Stamp: key, Weights: weights, Entry: e}
		s.mu.Unlock()
	}
	e.Program, e.Folder, e.Source = c.link.Program, c.link.Path, c.source()
	return e, !e.loose()
}

// loose reports whether a file has only its name in common with models.
func (e *Entry) loose() bool { return e.Kind == Unknown && strings.HasSuffix(e.Path, ".bin") }

// Entries are the models of the latest scan, of this process or, before its first, of an earlier one.
func (s *Store) Entries() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.scanned {
		var list []Entry
		for _, c := range s.cache.Models {
			if !c.loose() && !c.Away {
				list = append(list, c.Entry)
			}
		}
		return Search(list, Query{})
	}
	return slices.Clone(s.entries)
}

// Find gives the model under a path or a name: the name itself, or, where only one model has it, a part of one.
func (s *Store) Find(name string) (Entry, error) { return s.find(name, true) }

// find is Find; part says whether a part of a name is enough.
func (s *Store) find(name string, part bool) (Entry, error) {
	if name == "" {
		return Entry{}, errors.New("no model is named; see them with models list")
	}
	all := s.Entries()
	abs, _ := filepath.Abs(name)
	for _, e := range all {
		if e.Path == name || e.Path == abs {
			return e, nil
		}
	}
	for _, match := range []func(e Entry) bool{
		func(e Entry) bool { return e.Name == name || filepath.Base(e.Path) == name },
		func(e Entry) bool { return strings.EqualFold(e.Name, name) || strings.EqualFold(e.Title, name) },
		func(e Entry) bool { return part && strings.Contains(strings.ToLower(e.Name), strings.ToLower(name)) },
	} {
		switch found := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return !match(e) }); {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			var paths []string
			for _, e := range found[:min(len(found), 4)] {
				paths = append(paths, e.Path)
			}
			return Entry{}, fmt.Errorf("%d models go by the name %s: give the path of the one that is meant, such as %s", len(found), name, strings.Join(paths, ", "))
		}
	}
	return Entry{}, fmt.Errorf("there is no model %s among the %d known ones; see them with models list, or look again with models scan", name, len(all))
}

// FoldersOf lists the folders that hold usable models of a kind, the studio's own first, each once.
func (s *Store) FoldersOf(kind Kind) []string {
	var list []string
	for _, e := range s.Entries() {
		if dir := filepath.Dir(e.Path); e.Kind == kind && e.Usable() && !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	own := s.Own()
	theirs := slices.DeleteFunc(slices.Clone(list), func(dir string) bool { return within(own, dir) })
	return append(slices.DeleteFunc(list, func(dir string) bool { return !within(own, dir) }), theirs...)
}

// within reports whether a path lies in a folder.
func within(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// Token signs the person in at a host: as the environment says (HF_TOKEN for Hugging Face, ATELIER_TOKEN_ and the host's name in capitals
// with _ for what is no letter or digit), or else as was chosen. It is download.Options' Token.
func (s *Store) Token(host string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, host)
	if t := os.Getenv("ATELIER_TOKEN_" + name); t != "" {
		return t
	}
	if t := os.Getenv("HF_TOKEN"); t != "" && host == "huggingface.co" {
		return t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chosen.Tokens[host]
}

// SetToken keeps what signs the person in at a host, in a file that only they can read; "" forgets it.
func (s *Store) SetToken(host, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(func(c *choices) {
		if c.Tokens == nil {
			c.Tokens = map[string]string{}
		}
		if c.Tokens[host] = token; token == "" {
			delete(c.Tokens, host)
		}
	})
}

// Limit is how many bytes a second downloads may take; 0 is no limit.
func (s *Store) Limit() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chosen.Limit
}

// SetLimit keeps the limit of downloads.
func (s *Store) SetLimit(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(func(c *choices) { c.Limit = max(bytes, 0) })
}

// Changed is the time of a model's last change; the zero time where it is not known.
func (e *Entry) Changed() time.Time {
	t, _ := time.Parse(time.RFC3339, e.Modified)
	return t
}
