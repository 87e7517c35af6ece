package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Pickle is a program for a stack machine (Python's pickletools names its opcodes). This reader runs the machine and none of
// what programs ask it to call: calls of the few constructors that tensors need make values of our own, all other calls make
// inert objects that remember what was asked for. Every opcode takes at least one byte and allocates at most a small value, so
// memory is bounded by the program's length.

// pickleProto begins every pickle of protocol 2 and later.
const pickleProto = 0x80

// maxPickle bounds the program; real ones take 150 kB for a thousand tensors.
const maxPickle = 64 << 20

// The values of a pickle beside nil, bool, int64, float64 and string.
type (
	list  struct{ items []any } // also sets
	tuple struct{ items []any }
	dict  struct {
		keys, values []any
		at           map[string]int // place of each text key
	}
	global struct{ module, name string } // a class or function by name
	long   []byte                        // an integer beyond 64 bits, little-endian two's complement
	object struct {                      // what an unknown constructor would have made
		class any
		args  []any
		dict  dict  // items set on it
		items []any // items appended to it
		state []any // what BUILD gave it
	}
)

func (g *global) String() string { return g.module + "." + g.name }

// set puts a value under a key; a text key replaces its own.
func (d *dict) set(key, value any) {
	if k, ok := key.(string); ok {
		if i, ok := d.at[k]; ok {
			d.values[i] = value
			return
		}
		if d.at == nil {
			d.at = map[string]int{}
		}
		d.at[k] = len(d.keys)
	}
	d.keys, d.values = append(d.keys, key), append(d.values, value)
}

// get finds the value of a text key.
func (d *dict) get(key string) (any, bool) {
	i, ok := d.at[key]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// machine runs one pickle.
type machine struct {
	data  []byte
	at    int
	stack []any
	marks []int // heights of the stack
	memo  map[int]any

	global     func(module, name string) (any, error) // the value of a class or function
	call       func(f any, args []any) (any, error)
	build      func(x, state any) (any, error) // gives x its state
	persistent func(id any) (any, error)       // the storage that an identifier names
}

// run interprets the program at the front of data and gives its result and the bytes it took.
func (m *machine) run(data []byte) (result any, used int, err error) {
	m.data, m.at, m.stack, m.marks, m.memo = data[:min(len(data), maxPickle)], 0, nil, nil, map[int]any{}
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, 0, err
		}
		if op[0] == '.' {
			result, err := m.pop()
			return result, m.at, err
		}
		if err := m.step(op[0]); err != nil {
			if _, ok := err.(hostile); ok {
				return nil, 0, err
			}
			return nil, 0, fmt.Errorf("its pickle is damaged at byte %d: %w", m.at, err)
		}
	}
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.data)-m.at {
		return nil, fmt.Errorf("its pickle ends at byte %d in the middle of a value", len(m.data))
	}
	b := m.data[m.at : m.at+n : m.at+n]
	m.at += n
	return b, nil
}

// line is the text up to a line feed, which it passes over.
func (m *machine) line() (string, error) {
	i := bytes.IndexByte(m.data[m.at:], '\n')
	if i < 0 {
		return "", fmt.Errorf("a line of text does not end")
	}
	b, err := m.take(i + 1)
	if err != nil {
		return "", err
	}
	return string(b[:i]), nil
}

// counted is the bytes after their count, which takes size bytes.
func (m *machine) counted(size int) ([]byte, error) {
	n, err := m.uint(size)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(m.data)-m.at) {
		return nil, fmt.Errorf("a value of %d bytes does not fit the %d that are left", n, len(m.data)-m.at)
	}
	return m.take(int(n))
}

func (m *machine) uint(size int) (uint64, error) {
	b, err := m.take(size)
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:]), nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// floor is the height under which the values of an open mark's surroundings lie.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() (any, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, fmt.Errorf("a value is missing from the stack")
	}
	return m.stack[len(m.stack)-1], nil
}

// popN is the n topmost values in order, copied.
func (m *machine) popN(n int) ([]any, error) {
	at := len(m.stack) - n
	if at < m.floor() {
		return nil, fmt.Errorf("a value is missing from the stack")
	}
	items := append([]any(nil), m.stack[at:]...)
	m.stack = m.stack[:at]
	return items, nil
}

// popMark is the values since the last mark, copied.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, fmt.Errorf("a mark is missing")
	}
	items := append([]any(nil), m.stack[m.floor():]...)
	m.stack, m.marks = m.stack[:m.floor()], m.marks[:len(m.marks)-1]
	return items, nil
}

// step runs one opcode.
func (m *machine) step(op byte) error {
	switch op {
	case pickleProto:
		v, err := m.uint(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("protocol %d is not known", v)
		}
		return err
	case 0x95: // FRAME
		_, err := m.uint(8)
		return err
	case '(':
		m.marks = append(m.marks, len(m.stack))
		return nil
	case '0', '1', '2':
		return m.drop(op)
	case 'N':
		m.push(nil)
		return nil
	case 0x88, 0x89:
		m.push(op == 0x88)
		return nil
	case '}':
		m.push(&dict{})
		return nil
	case ']', 0x8f:
		m.push(&list{})
		return nil
	case ')':
		m.push(&tuple{})
		return nil
	case 'p', 'q', 'r', 0x94, 'g', 'h', 'j':
		return m.remember(op)
	case 'I', 'L', 'F', 'S', 'V':
		return m.textual(op)
	case 'J', 'K', 'M', 'G', 0x8a, 0x8b:
		return m.number(op)
	case 'X', 0x8c, 0x8d, 'T', 'U', 'B', 'C', 0x8e, 0x96:
		return m.text(op)
	case 't', 'l', 'd', 0x85, 0x86, 0x87, 0x91:
		return m.collect(op)
	case 'a', 'e', 's', 'u', 0x90:
		return m.fill(op)
	case 'c', 0x93, 'R', 'b', 'i', 'o', 0x81, 0x92, 'P', 'Q':
		return m.construct(op)
	case 0x98: // READONLY_BUFFER
		return nil
	}
	return fmt.Errorf("the opcode 0x%02x has no place in a checkpoint", op)
}

// drop is POP, POP_MARK and DUP.
func (m *machine) drop(op byte) error {
	switch op {
	case '0':
		if len(m.marks) > 0 && len(m.stack) == m.floor() { // Python's POP takes a mark too
			m.marks = m.marks[:len(m.marks)-1]
			return nil
		}
		_, err := m.pop()
		return err
	case '1':
		_, err := m.popMark()
		return err
	}
	v, err := m.top()
	m.push(v)
	return err
}

// remember writes and reads the memo.
func (m *machine) remember(op byte) error {
	var n uint64
	var err error
	switch op {
	case 'p', 'g':
		var s string
		if s, err = m.line(); err == nil {
			n, err = strconv.ParseUint(strings.TrimSpace(s), 10, 31)
		}
	case 'q', 'h':
		n, err = m.uint(1)
	case 'r', 'j':
		n, err = m.uint(4)
	case 0x94:
		n = uint64(len(m.memo))
	}
	if err != nil {
		return err
	}
	if op == 'g' || op == 'h' || op == 'j' {
		v, ok := m.memo[int(n)]
		if !ok {
			return fmt.Errorf("it refers to value %d, which is not there", n)
		}
		m.push(v)
		return nil
	}
	v, err := m.top()
	if err == nil {
		m.memo[int(n)] = v
	}
	return err
}

// textual is the values of protocol 0, written as Python source.
func (m *machine) textual(op byte) error {
	s, err := m.line()
	if err != nil {
		return err
	}
	switch op {
	case 'F':
		v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil && math.Abs(v) < math.MaxFloat64 {
			return fmt.Errorf("%s is not a number", quote(s))
		}
		m.push(v)
	case 'S':
		if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '\'' && s[0] != '"' {
			return fmt.Errorf("%s is not a quoted text", quote(s))
		}
		m.push(unescape(s[1 : len(s)-1]))
	case 'V':
		m.push(unescape(s))
	default:
		switch s = strings.TrimSpace(s); {
		case op == 'I' && (s == "00" || s == "01"):
			m.push(s == "01")
			return nil
		}
		v, err := strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64)
		switch {
		case err == nil:
			m.push(v)
		case strings.Trim(s, "-0123456789L") == "" && s != "":
			m.push(long(s)) // too large for anything that a checkpoint counts
		default:
			return fmt.Errorf("%s is not a whole number", quote(s))
		}
	}
	return nil
}

// unescape resolves Python's escapes \xhh, \uhhhh and those of single characters.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if v, err := strconv.ParseUint(s[i+1:min(i+1+digits, len(s))], 16, 32); digits > 0 && err == nil {
			b.WriteRune(rune(v))
			i += digits
			continue
		}
		if plain := strings.IndexByte("nrt", s[i]); plain >= 0 {
			b.WriteByte("\n\r\t"[plain])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// number is the binary numbers.
func (m *machine) number(op byte) error {
	switch op {
	case 'J':
		v, err := m.uint(4)
		m.push(int64(int32(v)))
		return err
	case 'K':
		v, err := m.uint(1)
		m.push(int64(v))
		return err
	case 'M':
		v, err := m.uint(2)
		m.push(int64(v))
		return err
	case 'G':
		b, err := m.take(8)
		if err == nil {
			m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
		return err
	}
	size := 1
	if op == 0x8b {
		size = 4
	}
	b, err := m.counted(size)
	if err != nil {
		return err
	}
	m.push(wholeNumber(b))
	return nil
}

// wholeNumber reads a little-endian two's complement integer of any length.
func wholeNumber(b []byte) any {
	if len(b) > 8 {
		return long(b)
	}
	v := uint64(0)
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		v = ^v
	}
	for i, x := range b {
		v = v&^(0xff<<(8*i)) | uint64(x)<<(8*i)
	}
	return int64(v)
}

// text is texts and bytes with their length before them.
func (m *machine) text(op byte) error {
	size := 1
	switch op {
	case 'X', 'T', 'B':
		size = 4
	case 0x8d, 0x8e, 0x96:
		size = 8
	}
	b, err := m.counted(size)
	if err != nil {
		return err
	}
	switch op {
	case 'B', 'C', 0x8e, 0x96:
		m.push(b)
	case 'T', 'U': // Python 2's, text or bytes
		m.push(string(b))
	default:
		if !utf8.Valid(b) && !bytes.Contains(b, []byte{0xed}) { // lone surrogates, which Python writes too, begin so
			return fmt.Errorf("a text is not UTF-8")
		}
		m.push(string(b))
	}
	return nil
}

// collect makes a collection of values from the stack.
func (m *machine) collect(op byte) error {
	var items []any
	var err error
	switch op {
	case 0x85, 0x86, 0x87:
		items, err = m.popN(int(op) - 0x84)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	switch op {
	case 'l', 0x91:
		m.push(&list{items})
	case 'd':
		d := &dict{}
		if err := d.pairs(items); err != nil {
			return err
		}
		m.push(d)
	default:
		m.push(&tuple{items})
	}
	return nil
}

func (d *dict) pairs(items []any) error {
	if len(items)%2 != 0 {
		return fmt.Errorf("a key has no value")
	}
	for i := 0; i < len(items); i += 2 {
		d.set(items[i], items[i+1])
	}
	return nil
}

// fill adds to the collection below.
func (m *machine) fill(op byte) error {
	var items []any
	var err error
	switch op {
	case 'a':
		items, err = m.popN(1)
	case 's':
		items, err = m.popN(2)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	to, err := m.top()
	if err != nil {
		return err
	}
	keyed := op == 's' || op == 'u'
	switch to := to.(type) {
	case *list:
		if !keyed {
			to.items = append(to.items, items...)
			return nil
		}
	case *dict:
		if keyed {
			return to.pairs(items)
		}
	case *object:
		if keyed {
			return to.dict.pairs(items)
		}
		to.items = append(to.items, items...)
		return nil
	}
	return fmt.Errorf("it adds items to something that has none")
}
