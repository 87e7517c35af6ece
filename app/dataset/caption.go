package dataset

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"atelier/app/library"
)

// captions finds the caption of each picture.
type captions struct {
	set     *Dataset
	texts   map[string]file // caption files by name without ending, in lower case
	beside  map[string]file // JSON files likewise
	meta    []file
	entries map[string][]string // captions of metadata files, by the picture's name; without its ending too
	stems   map[string][]string // by the last part of the name alone; nil where several pictures have it
	named   []entry
}

// entry is one row of a metadata file, to be told where its picture is missing.
type entry struct{ meta, picture string }

func newCaptions(d *Dataset) *captions {
	return &captions{set: d, texts: map[string]file{}, beside: map[string]file{}, entries: map[string][]string{}, stems: map[string][]string{}}
}

// add takes a file that may hold captions. Of two for one picture, .caption comes before .txt.
func (c *captions) add(f file) {
	if kindOf(f.name) == kindMetadata {
		c.meta = append(c.meta, f)
		return
	}
	key := strings.ToLower(stem(f.name))
	if have, ok := c.texts[key]; !ok || extension(have.name) != ".caption" {
		c.texts[key] = f
	}
}

// read reads all metadata files. stems are the pictures' names without endings.
func (c *captions) read(stems map[string]bool) {
	if !slices.Contains(c.set.opts.Captions, FromMetadata) {
		return
	}
	for _, f := range c.meta {
		base := strings.ToLower(path.Base(f.name))
		ext := extension(f.name)
		switch {
		case ext == ".json" && stems[stem(f.name)]:
			c.beside[strings.ToLower(stem(f.name))] = f
		case ext == ".json", ext == ".jsonl", base == "metadata.csv", base == "metadata.tsv", base == "captions.csv":
			c.readMetadata(f)
		}
	}
}

func (c *captions) readMetadata(f file) {
	data, err := f.read(longestMeta)
	if err != nil {
		c.unreadable(f, err)
		return
	}
	var rows []row
	var bad flaws
	data = []byte(decodeText(data))
	switch extension(f.name) {
	case ".jsonl":
		rows, bad = parseJSONL(data)
	case ".json":
		var ours bool
		rows, ours, err = parseKohya(data)
		if !ours && !strings.HasPrefix(path.Base(f.name), "meta") {
			return // JSON about something else
		}
	default:
		rows, bad, err = parseCSV(data)
	}
	if err != nil {
		c.unreadable(f, err)
	}
	for _, what := range bad.list {
		c.set.note(Finding{File: f.name, Kind: BadMetadata, What: what, Do: "correct the line; it is passed over until then"})
	}
	if more := bad.total - len(bad.list); more > 0 {
		c.set.note(Finding{File: f.name, Kind: BadMetadata, What: fmt.Sprintf("%d more lines cannot be read", more), Do: "correct them; they are passed over until then"})
	}
	c.keep(f, rows)
}

func (c *captions) unreadable(f file, err error) {
	finding := (&Item{Name: f.name}).fail(err)
	c.set.note(Finding{File: f.name, Kind: BadMetadata, What: strings.Replace(finding.What, "the file cannot be read", "the captions in it cannot be read", 1), Do: "correct the file; it is passed over until then"})
}

// keep enters the rows of a metadata file under the names that pictures may be looked up by: relative to the file's folder.
func (c *captions) keep(f file, rows []row) {
	dir := path.Dir(f.name)
	for _, r := range rows {
		texts := cleanAll(r.captions)
		name := strings.ReplaceAll(r.file, `\`, "/")
		full := path.Join(dir, name)
		c.named = append(c.named, entry{f.name, full})
		c.entries[full] = texts
		key := bareName(name)
		if _, twice := c.stems[key]; twice {
			texts = nil
		}
		c.stems[key] = texts
	}
}

// bareName is the last part of a path without a picture's ending: what is left to go by where a path has changed.
func bareName(name string) string {
	base := path.Base(name)
	if kindOf(base) == kindPicture {
		base = stem(base)
	}
	return base
}

// caption fills in the caption of an item from the first origin that has one.
func (c *captions) caption(it *Item) {
	for _, o := range c.set.opts.Captions {
		var list []string
		switch o {
		case FromText:
			list = c.fromText(it)
		case FromMetadata:
			list = c.fromMetadata(it)
		case FromParameters:
			list = it.fromParameters()
		case FromName:
			list = cleanAll([]string{nameWords(it.Name)})
		}
		if len(list) > 0 {
			it.Caption, it.Alternatives, it.Origin = list[0], list[1:], o
			return
		}
	}
}

func (c *captions) fromText(it *Item) []string {
	for _, key := range []string{stem(it.Name), it.Name} { // also a.png.txt
		key = strings.ToLower(key)
		f, ok := c.texts[key]
		if !ok {
			continue
		}
		data, err := f.read(longestText)
		if err != nil {
			c.unreadable(f, err)
			continue
		}
		if list := parseText(data); len(list) > 0 {
			return list
		}
		it.blank = f.name
	}
	return nil
}

func (c *captions) fromMetadata(it *Item) []string {
	if f, ok := c.beside[strings.ToLower(stem(it.Name))]; ok {
		data, err := f.read(longestText)
		if err == nil {
			var list []string
			if list, err = parseBeside([]byte(decodeText(data))); err == nil && len(list) > 0 {
				return cleanAll(list)
			}
		}
		if err != nil {
			c.unreadable(f, err)
		}
	}
	for _, key := range []string{it.Name, stem(it.Name)} {
		if list, ok := c.entries[key]; ok {
			return list
		}
	}
	return c.stems[bareName(it.Name)]
}

// fromParameters reads the prompt that this program and others write into their PNG files.
func (it *Item) fromParameters() []string {
	if it.Format != "png" || it.problem != nil {
		return nil
	}
	r, err := it.file.open()
	if err != nil {
		return nil
	}
	defer r.Close()
	p, err := library.ParametersOf(r)
	if err != nil {
		return nil
	}
	return cleanAll([]string{p.Prompt})
}

// orphans notes captions whose picture is missing.
func (c *captions) orphans(pictures []file) {
	folders, bare, names := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range pictures {
		folders[path.Dir(p.name)] = true
		names[strings.ToLower(stem(p.name))], names[strings.ToLower(p.name)] = true, true
		bare[bareName(p.name)] = true
	}
	for _, key := range slices.Sorted(maps.Keys(c.texts)) {
		f := c.texts[key]
		if !folders[path.Dir(f.name)] || about.MatchString(path.Base(f.name)) || !slices.Contains(c.set.opts.Captions, FromText) {
			continue
		}
		if !names[key] {
			c.set.note(Finding{File: f.name, Kind: Orphan, What: "there is no picture of this name", Do: "add the picture, or remove the caption"})
		}
	}
	missing := map[string]*flaws{}
	for _, e := range c.named {
		if names[strings.ToLower(e.picture)] || bare[bareName(e.picture)] {
			continue
		}
		if missing[e.meta] == nil {
			missing[e.meta] = &flaws{}
		}
		missing[e.meta].add("%s", e.picture)
	}
	for _, meta := range slices.Sorted(maps.Keys(missing)) {
		m := missing[meta]
		what := fmt.Sprintf("it describes %d pictures that are missing: %s", m.total, strings.Join(m.list, ", "))
		if m.total == 1 {
			what = "it describes a picture that is missing: " + m.list[0]
		} else if m.total > len(m.list) {
			what += " …"
		}
		c.set.note(Finding{File: meta, Kind: Orphan, What: what, Do: "add the pictures, or remove the lines"})
	}
}

// about are text files that are no captions.
var about = regexp.MustCompile(`(?i)^(readme|licen[cs]e|copying|credits|attribution|notice|changelog|requirements|sources?|urls?|labels|classes|tags)\b`)

// clean makes one line of a caption: no control characters, no runs of blanks.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) || r == '\ufeff' {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

func cleanAll(list []string) []string {
	var out []string
	for _, s := range list {
		if s = clean(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

var (
	repeated  = regexp.MustCompile(`^(\d{1,4})_(.+)$`)
	copied    = regexp.MustCompile(`(?i)(\s*\(\d+\)|\s*-\s*copy|[\s_-]copy)$`)
	camel     = regexp.MustCompile(`(\p{Ll})(\p{Lu})`)
	separated = regexp.MustCompile(`[_\s+.,;~=@#%&!/\\\[\](){}]+`)
	numeral   = regexp.MustCompile(`^[\d\-x]*\d[\d\-x]*$`)
	codeLike  = regexp.MustCompile(`(?i)^([a-z]{0,3}\d{3,}[a-z0-9]*|[a-z0-9]*\d[a-z0-9]*\d[a-z0-9]{4,})$`)
	hexLike   = regexp.MustCompile(`(?i)^[0-9a-f-]*(\d[a-f-]*){3}[0-9a-f-]*$`)
	counter   = regexp.MustCompile(`-\d+$`)
	camera    = regexp.MustCompile(`(?i)^(img|dsc|dscn|dscf|pxl|mvi|gopr|imag|image|images|photo|pic|picture|screenshot|scan|untitled|file|frame|sample|download|wp|vid|s)\d*$`)
	shelf     = regexp.MustCompile(`(?i)^(train(ing)?|test|val(id(ation)?)?|dev|data(set)?s?|images?|img|pictures?|pics|photos?|raw|all|input|output|files?|misc|new|default|\.)$`)
)

// repeats is the number that kohya's scripts put before a folder's name: the times an epoch that its pictures are shown.
func repeats(name string) int {
	if m := repeated.FindStringSubmatch(path.Base(path.Dir(name))); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			return n
		}
	}
	return 1
}

// nameWords turns a picture's name into words, or its folder's name where the file's own is a number or a camera's.
func nameWords(name string) string {
	if w := words(stem(path.Base(name))); w != "" {
		return w
	}
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		base := path.Base(dir)
		if m := repeated.FindStringSubmatch(base); m != nil {
			base = m[2]
		}
		if shelf.MatchString(base) {
			continue
		}
		if w := words(base); w != "" {
			return w
		}
	}
	return ""
}

// words cleans a name: separators become blanks, numbers at the ends and codes go, and what a camera writes counts as nothing.
// A hyphen stays where other separators part the words ("t-shirt_red").
func words(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	s = copied.ReplaceAllString(s, "")
	if hexLike.MatchString(s) {
		return ""
	}
	s = camel.ReplaceAllString(s, "$1 $2")
	parted := separated.MatchString(s)
	s = separated.ReplaceAllString(s, " ")
	if !parted {
		s = strings.ReplaceAll(s, "-", " ")
	}
	coded := false
	var out []string
	for _, w := range strings.Fields(s) {
		w = strings.Trim(counter.ReplaceAllString(w, ""), "-–—")
		switch {
		case w == "":
		case numeral.MatchString(w) && (len(out) == 0 || len(w) > 2), codeLike.MatchString(w), hexLike.MatchString(w):
			coded = true
		default:
			out = append(out, w)
		}
	}
	for len(out) > 0 && numeral.MatchString(out[len(out)-1]) {
		out, coded = out[:len(out)-1], true
	}
	if coded {
		out = slices.DeleteFunc(out, func(w string) bool { return len(w) == 1 && strings.ToLower(w) != "a" })
	}
	if !slices.ContainsFunc(out, func(w string) bool { return !camera.MatchString(w) || len(w) == 1 }) {
		return ""
	}
	for i, w := range out {
		if strings.ToUpper(w) != w || len(w) == 1 && len(out) > 1 {
			out[i] = strings.ToLower(w)
		}
	}
	return strings.Join(out, " ")
}
