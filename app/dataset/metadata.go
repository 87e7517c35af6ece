package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// row is what a metadata file says of one picture.
type row struct {
	file     string
	captions []string
}

// The columns that name the picture and those that hold captions, best first.
var (
	fileColumns    = []string{"file_name", "filename", "file", "image", "image_path", "path"}
	captionColumns = []string{"text", "caption", "captions", "prompt", "description", "tags", "label", "class", "title"}
)

// Metadata files are read up to these sizes.
const (
	longestText = 1 << 20   // one caption file, or one line of metadata
	longestMeta = 256 << 20 // one metadata file
	mostFlaws   = 20        // flaws that are named one by one
)

// flaws collects what is wrong with the lines of a metadata file; after mostFlaws it only counts.
type flaws struct {
	list  []string
	total int
}

func (f *flaws) add(format string, args ...any) {
	if f.total++; f.total <= mostFlaws {
		f.list = append(f.list, fmt.Sprintf(format, args...))
	}
}

// parseJSONL reads metadata.jsonl of Hugging Face's imagefolder: a JSON object a line, with file_name and a caption.
func parseJSONL(data []byte) ([]row, flaws) {
	var rows []row
	var bad flaws
	for n := 1; len(data) > 0; n++ {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(line) > longestText {
			bad.add("line %d has %d bytes, and at most %d are read", n, len(line), longestText)
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(line, &object); err != nil {
			bad.add("line %d is no JSON object (%v)", n, err)
			continue
		}
		r := row{}
		for _, c := range fileColumns {
			if json.Unmarshal(object[c], &r.file) == nil && r.file != "" {
				break
			}
		}
		if r.file == "" {
			bad.add("line %d names no picture: it has no file_name", n)
			continue
		}
		r.captions = jsonCaptions(object)
		rows = append(rows, r)
	}
	return rows, bad
}

// jsonCaptions takes the first caption column that says something: a string, or a list of them. A list of tags is one
// caption, other lists are alternatives.
func jsonCaptions(object map[string]json.RawMessage) []string {
	for _, c := range captionColumns {
		var one string
		if json.Unmarshal(object[c], &one) == nil && strings.TrimSpace(one) != "" {
			return []string{one}
		}
		var many []string
		if json.Unmarshal(object[c], &many) != nil || len(many) == 0 {
			continue
		}
		if c == "tags" {
			return []string{strings.Join(many, ", ")}
		}
		return many
	}
	return nil
}

// separator is a comma, a semicolon or a tab, whichever a CSV file's first line has most of.
func separator(first []byte) rune {
	best := ','
	for _, c := range []rune{';', '\t'} {
		if bytes.Count(first, []byte(string(c))) > bytes.Count(first, []byte(string(best))) {
			best = c
		}
	}
	return best
}

// parseCSV reads metadata.csv: a line of column names, then a picture a line. The separator is a comma, a semicolon or a tab,
// whichever the first line has most of.
func parseCSV(data []byte) ([]row, flaws, error) {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	comma := separator(first)
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord, r.TrimLeadingSpace = comma, -1, true, comma != '\t'
	head, err := r.Read()
	if err != nil {
		return nil, flaws{}, errors.New("its first line does not name the columns")
	}
	columns := map[string]int{}
	for i, h := range head {
		if name := strings.ToLower(strings.TrimSpace(h)); name != "" {
			columns[name] = i
		}
	}
	find := func(names []string) int {
		for _, n := range names {
			if i, ok := columns[n]; ok {
				return i
			}
		}
		return -1
	}
	file := find(fileColumns)
	if file < 0 {
		return nil, flaws{}, fmt.Errorf("it has no column file_name, but %s", strings.Join(slices.Sorted(maps.Keys(columns)), ", "))
	}
	var rows []row
	var bad flaws
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, bad, nil
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			bad.add("line %d cannot be read (%v)", parse.StartLine, parse.Err)
			continue
		}
		if err != nil {
			return rows, bad, err
		}
		if file >= len(fields) || strings.TrimSpace(fields[file]) == "" {
			line, _ := r.FieldPos(0)
			bad.add("line %d names no picture", line)
			continue
		}
		rows = append(rows, row{file: strings.TrimSpace(fields[file]), captions: csvCaption(fields, columns)})
	}
}

func csvCaption(fields []string, columns map[string]int) []string {
	for _, c := range captionColumns {
		if i, ok := columns[c]; ok && i < len(fields) && strings.TrimSpace(fields[i]) != "" {
			return []string{fields[i]}
		}
	}
	return nil
}

// parseKohya reads the JSON of kohya's scripts: picture → {"caption", "tags"}, where the picture is a path with or without
// its ending. ok is false for JSON of another kind.
func parseKohya(data []byte) (rows []row, ok bool, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, false, err
	}
	for name, value := range all {
		var entry map[string]json.RawMessage
		if json.Unmarshal(value, &entry) != nil {
			continue
		}
		parts := jsonCaptions(map[string]json.RawMessage{"caption": entry["caption"]})
		if tags := jsonCaptions(map[string]json.RawMessage{"tags": entry["tags"]}); len(parts) == 0 {
			parts = tags
		} else if len(tags) > 0 {
			parts[0] += ", " + tags[0]
		}
		if _, sized := entry["train_resolution"]; len(parts) > 0 || sized {
			rows = append(rows, row{file: name, captions: parts})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.file, b.file) })
	return rows, len(rows) > 0, nil
}

// parseBeside reads a JSON file that lies beside its picture under the same name.
func parseBeside(data []byte) ([]string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	return jsonCaptions(object), nil
}

// parseText reads a caption file: a caption a line, the first is the caption and the others are alternatives.
func parseText(data []byte) []string {
	var lines []string
	s := bufio.NewScanner(strings.NewReader(decodeText(data)))
	s.Buffer(nil, 4*longestText)
	for s.Scan() {
		if line := clean(s.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// decodeText reads UTF-8, UTF-16 where a byte-order mark says so, and takes anything else for Latin-1.
func decodeText(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		data = data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		return wide(data[2:], 0)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		return wide(data[2:], 1)
	}
	if utf8.Valid(data) {
		return string(data)
	}
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	return string(runes)
}

// wide decodes UTF-16; low is the place of a unit's low byte: 0 little-endian, 1 big-endian.
func wide(data []byte, low int) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = uint16(data[2*i+low]) | uint16(data[2*i+1-low])<<8
	}
	return string(utf16.Decode(units))
}
