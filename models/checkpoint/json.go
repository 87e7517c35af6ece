package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

const maxDepth = 64 // nesting of ignored values

// reader walks JSON strictly: valid throughout, no duplicate keys, bounded nesting, nothing after the value.
type reader struct {
	dec  *json.Decoder
	base error
}

func newReader(data []byte) *reader {
	r := &reader{dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber()
	if depth(data) > maxDepth {
		r.base = fmt.Errorf("its JSON is nested more than %d deep", maxDepth)
	} else if !json.Valid(data) {
		r.base = fmt.Errorf("it is not valid JSON")
	}
	return r
}

// depth is the deepest nesting of brackets outside strings.
func depth(data []byte) (deepest int) {
	now, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func (r *reader) token() (json.Token, error) {
	if r.base != nil {
		return nil, r.base
	}
	return r.dec.Token()
}

// object reads {key: value, …}; field reads each value.
func (r *reader) object(field func(key string) error) error {
	if t, err := r.token(); err != nil || t != json.Delim('{') {
		return errOr(err, "an object was expected")
	}
	seen := map[string]bool{}
	for r.dec.More() {
		t, err := r.token()
		key, ok := t.(string)
		if err != nil || !ok {
			return errOr(err, "a name was expected")
		}
		if seen[key] {
			return fmt.Errorf("the name %s appears twice", quote(key))
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

func (r *reader) text() (string, error) {
	t, err := r.token()
	s, ok := t.(string)
	if err != nil || !ok {
		return "", errOr(err, "a text was expected")
	}
	return s, nil
}

// uints reads an array of non-negative integers; an empty one is not nil.
func (r *reader) uints() ([]uint64, error) {
	if t, err := r.token(); err != nil || t != json.Delim('[') {
		return nil, errOr(err, "an array was expected")
	}
	list := []uint64{}
	for r.dec.More() {
		t, err := r.token()
		n, ok := t.(json.Number)
		if err != nil || !ok {
			return nil, errOr(err, "a number was expected")
		}
		v, err := strconv.ParseUint(n.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s is not a size or an offset", quote(n.String()))
		}
		list = append(list, v)
	}
	_, err := r.token()
	return list, err
}

// skip passes over one value of any kind.
func (r *reader) skip() error {
	for open := 0; ; {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if open == 0 {
			return nil
		}
	}
}

// end demands that only white space is left.
func (r *reader) end() error {
	if _, err := r.token(); err != io.EOF {
		return errOr(nil, "something follows the JSON")
	}
	return nil
}

func errOr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", otherwise)
}
