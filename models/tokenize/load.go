package tokenize

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

const (
	packedName = "bpe_simple_vocab_16e6.txt.gz" // as openai/CLIP ships it
	maxFile    = 64 << 20
	maxTokens  = 1 << 22
	// openMerges is how many of the packed file's merges CLIP uses; with 2 × 256 bytes and 2 special tokens: 49408 in all.
	openMerges = 49152 - 256 - 2
)

// Load reads a tokenizer from dir: vocab.json and merges.txt with an optional tokenizer_config.json and
// special_tokens_map.json (the diffusers layout), or bpe_simple_vocab_16e6.txt.gz. Errors name the file at fault.
func Load(fsys fs.FS, dir string) (*Tokenizer, error) {
	config, err := loadConfig(fsys, dir)
	if err != nil {
		return nil, err
	}
	vocabName, mergesName := path.Join(dir, "vocab.json"), path.Join(dir, "merges.txt")
	data, err := read(fsys, vocabName)
	if errors.Is(err, fs.ErrNotExist) {
		if packed, packedErr := read(fsys, path.Join(dir, packedName)); packedErr == nil {
			return loadPacked(packed, path.Join(dir, packedName), config)
		}
	}
	if err != nil {
		return nil, err
	}
	vocab, problem := parseVocab(data)
	if problem != nil {
		return nil, damaged(vocabName, problem)
	}
	if data, err = read(fsys, mergesName); err != nil {
		return nil, err
	}
	pairs, problem := parseMerges(data, -1)
	if problem != nil {
		return nil, damaged(mergesName, problem)
	}
	t, problem := build(vocab, pairs, config)
	if problem != nil {
		return nil, damaged(vocabName, problem)
	}
	return t, nil
}

func damaged(name string, problem error) error {
	return fmt.Errorf("tokenize: %s: %w; download the tokenizer again", name, problem)
}

func read(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("tokenize: %s cannot be read, choose a folder with vocab.json and merges.txt: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("tokenize: %s is not a regular file of at most %d bytes; download the tokenizer again", name, maxFile)
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("tokenize: %s cannot be read: %w", name, err)
	}
	return data, nil
}

// parseVocab reads {"token": id, …}.
func parseVocab(data []byte) (map[string]int, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	vocab, taken := map[string]int{}, map[int]bool{}
	for dec.More() {
		key, err := dec.Token()
		token, ok := key.(string)
		if err != nil || !ok {
			return nil, errors.New("it is not valid JSON")
		}
		value, err := dec.Token()
		id, ok := value.(float64)
		switch {
		case err != nil:
			return nil, errors.New("it is not valid JSON")
		case !ok || id < 0 || id >= maxTokens || id != float64(int(id)):
			return nil, fmt.Errorf("token %.40q has the id %.40q, which is not a whole number below %d", token, fmt.Sprint(value), maxTokens)
		case taken[int(id)]:
			return nil, fmt.Errorf("the id %d is given twice", int(id))
		}
		if _, twice := vocab[token]; twice {
			return nil, fmt.Errorf("token %.40q appears twice", token)
		}
		vocab[token], taken[int(id)] = int(id), true
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("it is cut short")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the vocabulary")
	}
	return vocab, nil
}

// parseMerges reads two tokens a line after a version line; a non-negative limit cuts the list there.
func parseMerges(data []byte, limit int) ([][2]string, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not valid UTF-8")
	}
	var pairs [][2]string
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if i == 0 || line == "" {
			continue // the version line, or the end
		}
		if limit >= 0 && len(pairs) == limit {
			break
		}
		a, b, ok := strings.Cut(line, " ")
		if !ok || a == "" || b == "" || strings.Contains(b, " ") {
			return nil, fmt.Errorf("line %d does not hold two tokens", i+1)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, nil
}

// loadPacked reads openai/CLIP's own file, whose vocabulary follows from its merges.
func loadPacked(data []byte, name string, config config) (*Tokenizer, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, damaged(name, err)
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, maxFile+1))
	if err != nil {
		return nil, damaged(name, err)
	}
	if len(text) > maxFile {
		return nil, damaged(name, fmt.Errorf("it unpacks to more than %d bytes", maxFile))
	}
	pairs, err := parseMerges(text, openMerges)
	if err != nil {
		return nil, damaged(name, err)
	}
	vocab := map[string]int{}
	add := func(token string) {
		if _, ok := vocab[token]; !ok {
			vocab[token] = len(vocab)
		}
	}
	for _, end := range []string{"", wordEnd} {
		for _, b := range byteOrder() {
			add(b + end)
		}
	}
	for _, p := range pairs {
		add(p[0] + p[1])
	}
	add(startOfText)
	add(endOfText)
	t, err := build(vocab, pairs, config)
	if err != nil {
		return nil, damaged(name, err)
	}
	return t, nil
}

// config is what the JSON files beside a vocabulary say, or CLIP's own values.
type config struct {
	bos, eos, unk, pad string
	maxLength          int
}

// tokenName is a special token in JSON: a string, or an object with its content.
type tokenName string

func (n *tokenName) UnmarshalJSON(data []byte) error {
	var plain *string
	if json.Unmarshal(data, &plain) == nil {
		if plain != nil {
			*n = tokenName(*plain)
		}
		return nil
	}
	var added struct{ Content string }
	if err := json.Unmarshal(data, &added); err != nil {
		return errors.New("a special token is neither text nor an object with content")
	}
	*n = tokenName(added.Content)
	return nil
}

func loadConfig(fsys fs.FS, dir string) (config, error) {
	c := config{maxLength: defaultMaxLength}
	for _, name := range []string{"tokenizer_config.json", "special_tokens_map.json"} {
		full := path.Join(dir, name)
		data, err := read(fsys, full)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return c, err
		}
		if err := c.merge(data); err != nil {
			return c, damaged(full, err)
		}
	}
	for _, d := range []struct {
		field    *string
		fallback string
	}{{&c.bos, startOfText}, {&c.eos, endOfText}, {&c.unk, endOfText}, {&c.pad, endOfText}} {
		if *d.field == "" {
			*d.field = d.fallback
		}
	}
	return c, nil
}

// merge takes what data says and c does not know yet.
func (c *config) merge(data []byte) error {
	var file struct {
		BOS       tokenName `json:"bos_token"`
		EOS       tokenName `json:"eos_token"`
		UNK       tokenName `json:"unk_token"`
		Pad       tokenName `json:"pad_token"`
		MaxLength *float64  `json:"model_max_length"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("it cannot be understood (%w)", err)
	}
	for _, f := range []struct {
		to   *string
		from tokenName
	}{{&c.bos, file.BOS}, {&c.eos, file.EOS}, {&c.unk, file.UNK}, {&c.pad, file.Pad}} {
		if *f.to == "" {
			*f.to = string(f.from)
		}
	}
	if n := file.MaxLength; n != nil {
		switch {
		case *n > maxMaxLength: // transformers writes 1e30 for "no limit"
		case *n < 3 || *n != float64(int(*n)):
			return fmt.Errorf("model_max_length is %v, but start, end and a word need 3", *n)
		default:
			c.maxLength = int(*n)
		}
	}
	return nil
}
