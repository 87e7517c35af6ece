package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Missing says what becomes of rows with holes.
type Missing string

// The ways to treat missing values.
const (
	MissingDrop Missing = "drop" // the row is left out
	MissingMean Missing = "mean" // the column's mean stands in
)

// TableOptions are the choices of OpenTable.
type TableOptions struct {
	Columns    []string // the columns to use, in this order; nil means all that hold numbers
	Missing    Missing  // empty means MissingDrop
	Dequantise bool     // add uniform noise in [0, 1) to columns of whole numbers, so that a density exists
	MaxBytes   int64    // larger files are refused; 0 means 1 GB
}

const (
	defaultTableBytes = 1 << 30
	mostColumns       = 4096
)

// Column is one column of a table.
type Column struct {
	Name      string  `json:"name"`
	Mean      float64 `json:"mean"`      // of the rows that training uses
	Deviation float64 `json:"deviation"` // likewise; more than 0
	Least     float64 `json:"least"`
	Most      float64 `json:"most"`
	Missing   int     `json:"missing"` // cells without a number
	Whole     bool    `json:"whole"`   // holds whole numbers only
}

// Table is rows of numbers, for models of densities such as flows.
type Table struct {
	Columns  []Column
	Findings []Finding

	raw  [][]float64 // rows of columns, shared with the table that this is a part of
	o    TableOptions
	path string
}

// N is the number of rows, D that of columns.
func (t *Table) N() int { return len(t.raw) }

// D is the number of columns.
func (t *Table) D() int { return len(t.Columns) }

// OpenTable reads a CSV file with column names in its first line. The separator is a comma, a semicolon or a tab, whichever that line
// has most of; with the latter two, numbers may have decimal commas. Columns of words and columns that never vary are left out and said.
func OpenTable(path string, o TableOptions) (*Table, error) {
	if o.Missing == "" {
		o.Missing = MissingDrop
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultTableBytes
	}
	if o.Missing != MissingDrop && o.Missing != MissingMean {
		return nil, fmt.Errorf("missing values cannot be treated as %q; choose drop or mean", o.Missing)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the table %s cannot be opened: %w; check the path", path, plain(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.IsDir() || info.Size() > o.MaxBytes {
		return nil, fmt.Errorf("the table %s cannot be read: give a CSV file of at most %s", path, megabytes(o.MaxBytes))
	}
	t := &Table{o: o, path: path}
	names, cells, err := t.scan(io.LimitReader(f, o.MaxBytes))
	if err != nil {
		return nil, fmt.Errorf("the table %s cannot be read: %w", path, err)
	}
	if err := t.choose(names, cells); err != nil {
		return nil, fmt.Errorf("the table %s cannot be used: %w", path, err)
	}
	return t, nil
}

// noNumber marks a cell that holds something else than a number, beside NaN for one that is empty.
var noNumber = math.Inf(1)

// scan reads all rows as numbers.
func (t *Table) scan(r io.Reader) (names []string, cells [][]float64, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, plain(err)
	}
	data = []byte(decodeText(data))
	first, _, _ := bytes.Cut(data, []byte("\n"))
	comma := separator(first)
	in := csv.NewReader(bytes.NewReader(data))
	in.Comma, in.FieldsPerRecord, in.ReuseRecord, in.TrimLeadingSpace = comma, -1, true, comma != '\t'
	head, err := in.Read()
	if err != nil {
		return nil, nil, errors.New("its first line does not name the columns")
	}
	if len(head) > mostColumns {
		return nil, nil, fmt.Errorf("it has %d columns, and at most %d are read", len(head), mostColumns)
	}
	for i, h := range head {
		if h = clean(h); h == "" {
			h = fmt.Sprintf("column %d", i+1)
		}
		names = append(names, h)
	}
	var bad flaws
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var parse *csv.ParseError
		switch {
		case errors.As(err, &parse):
			bad.add("line %d cannot be read (%v)", parse.StartLine, parse.Err)
			continue
		case err != nil:
			return nil, nil, err
		case len(fields) != len(names):
			line, _ := in.FieldPos(0)
			bad.add("line %d has %d cells, and there are %d columns", line, len(fields), len(names))
			continue
		}
		row := make([]float64, len(fields))
		for i, text := range fields {
			row[i] = cellValue(text, comma != ',')
		}
		cells = append(cells, row)
	}
	for _, what := range bad.list {
		t.note(BadMetadata, what, "correct the line; it is passed over until then")
	}
	if more := bad.total - len(bad.list); more > 0 {
		t.note(BadMetadata, fmt.Sprintf("%d more lines cannot be read", more), "correct them; they are passed over until then")
	}
	return names, cells, nil
}

func (t *Table) note(k Kind, what, do string) {
	t.Findings = append(t.Findings, Finding{File: t.path, Kind: k, What: what, Do: do})
}

// cellValue reads a cell: a number, NaN where it is missing, noNumber for anything else.
func cellValue(text string, decimalComma bool) float64 {
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "", "na", "n/a", "nan", "null", "none", "?", "-", ".":
		return math.NaN()
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && decimalComma {
		v, err = strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	}
	if err != nil || v-v != 0 || math.Abs(v) > math.MaxFloat32 {
		return noNumber
	}
	return v
}

// choose takes the columns that can be used and the rows that are whole, or fills them up.
func (t *Table) choose(names []string, cells [][]float64) error {
	wanted := make([]int, 0, len(names))
	if t.o.Columns == nil {
		for i := range names {
			wanted = append(wanted, i)
		}
	}
	for _, name := range t.o.Columns {
		i := slices.Index(names, name)
		if i < 0 {
			return fmt.Errorf("it has no column %q; it has %s", name, list(names))
		}
		wanted = append(wanted, i)
	}
	var used []int
	for _, i := range wanted {
		c, words := describeColumn(names[i], cells, i)
		switch given := len(cells) - c.Missing; {
		case words > given/2:
			t.note(Unsupported, fmt.Sprintf("the column %q holds words", c.Name), "write numbers in place of the words to use it")
			continue
		case given-words == 0:
			t.note(Empty, fmt.Sprintf("the column %q is empty", c.Name), "fill it to use it")
			continue
		case c.Least == c.Most:
			t.note(Empty, fmt.Sprintf("the column %q is %g in every row", c.Name, c.Least), "nothing: a value that never varies needs no model")
			continue
		case words > 0:
			t.note(Broken, fmt.Sprintf("the column %q has %s that hold no number", c.Name, count(words, "cell")), "correct them; they count as missing until then")
		}
		c.Missing += words
		used = append(used, i)
		t.Columns = append(t.Columns, c)
	}
	if len(used) == 0 {
		return errors.New("none of its columns holds numbers that vary")
	}
	t.take(cells, used)
	if len(t.raw) < 2 {
		return fmt.Errorf("only %s of %d have all numbers; fill the holes by the mean, or use fewer columns", count(len(t.raw), "row"), len(cells))
	}
	return t.measure()
}

func describeColumn(name string, cells [][]float64, i int) (c Column, words int) {
	c = Column{Name: name, Least: math.Inf(1), Most: math.Inf(-1), Whole: true}
	for _, row := range cells {
		switch v := row[i]; {
		case v != v:
			c.Missing++
		case v == noNumber:
			words++
		default:
			c.Least, c.Most = min(c.Least, v), max(c.Most, v)
			c.Whole = c.Whole && v == math.Trunc(v)
		}
	}
	return c, words
}

// take copies the used columns of the rows that can be used.
func (t *Table) take(cells [][]float64, used []int) {
	means := make([]float64, len(used))
	for k, i := range used {
		n := 0.0
		for _, row := range cells {
			if v := row[i]; v-v == 0 {
				n++
				means[k] += (v - means[k]) / n
			}
		}
	}
	dropped := 0
rows:
	for _, row := range cells {
		out := make([]float64, len(used))
		for k, i := range used {
			if out[k] = row[i]; out[k]-out[k] == 0 {
				continue
			}
			if t.o.Missing == MissingDrop {
				dropped++
				continue rows
			}
			out[k] = means[k]
		}
		t.raw = append(t.raw, out)
	}
	if dropped > 0 {
		t.note(Broken, fmt.Sprintf("%s of %d lack numbers", count(dropped, "row"), len(cells)), "fill them in; they are left out until then")
	}
}

// measure fills in mean and deviation from the table's own rows.
func (t *Table) measure() error {
	for k := range t.Columns {
		c := &t.Columns[k]
		mean, squares := 0.0, 0.0
		for n, row := range t.raw { // Welford
			d := row[k] - mean
			mean += d / float64(n+1)
			squares += d * (row[k] - mean)
		}
		c.Mean, c.Deviation = mean, math.Sqrt(squares/float64(len(t.raw)))
		if !(c.Deviation > 0) {
			return fmt.Errorf("the column %q never varies in the rows that are used; leave it out", c.Name)
		}
	}
	return nil
}

// Row writes row i to dst [D], standardised: less the mean, over the deviation.
func (t *Table) Row(i int, dst []float32) {
	for k, c := range t.Columns {
		dst[k] = float32((t.raw[i][k] - c.Mean) / c.Deviation)
	}
}

// Restore gives a standardised row [D] in the table's own units; columns of whole numbers are rounded down where they were
// dequantised, else to the nearest.
func (t *Table) Restore(row []float32) []float64 {
	out := make([]float64, len(t.Columns))
	for k, c := range t.Columns {
		out[k] = float64(row[k])*c.Deviation + c.Mean
		switch {
		case c.Whole && t.o.Dequantise:
			out[k] = math.Floor(out[k])
		case c.Whole:
			out[k] = math.Round(out[k])
		}
	}
	return out
}

// LogScale is what must be taken from the log density of a standardised row for that in the table's own units: Σ ln deviation.
func (t *Table) LogScale() float64 {
	sum := 0.0
	for _, c := range t.Columns {
		sum += math.Log(c.Deviation)
	}
	return sum
}

// Batch gives size standardised rows [size D]: batch number position of the endless sequence of a seed, in which every row comes up
// once before any comes up again. It depends on nothing else.
func (t *Table) Batch(seed uint64, position int64, size int) []float32 {
	out := make([]float32, size*t.D())
	n := int64(t.N())
	epoch := int64(-1)
	var order []int
	for i := range size {
		at := position*int64(size) + int64(i)
		if e := at / n; e != epoch {
			epoch, order = e, newDraws(seed, streamOrder, uint32(e), 0).shuffle(t.N())
		}
		row := out[i*t.D() : (i+1)*t.D()]
		t.Row(order[at%n], row)
		if !t.o.Dequantise {
			continue
		}
		d := newDraws(seed, streamPicture, uint32(at), uint32(at>>32))
		for k, c := range t.Columns {
			if u := d.uniform(); c.Whole {
				row[k] += float32(u / c.Deviation)
			}
		}
	}
	return out
}

// Split parts the rows by a hash of the seed and their numbers, equal rows together, and standardises both parts by what is trained on.
func (t *Table) Split(fraction float64, seed uint64) (train, validation *Table, err error) {
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, fmt.Errorf("a share of %g cannot be set aside for validation; choose more than 0 and less than 1, such as 0.1", fraction)
	}
	type keyed struct {
		key [sha256.Size]byte
		row []float64
	}
	all := make([]keyed, t.N())
	for i, row := range t.raw {
		data := seeded(seed)
		for _, v := range row {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
		}
		all[i] = keyed{sha256.Sum256(data), row}
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return bytes.Compare(a.key[:], b.key[:]) })
	cut := min(max(int(math.Round(fraction*float64(t.N()))), 1), t.N()-1)
	for cut < len(all) && all[cut].key == all[cut-1].key {
		cut++
	}
	part := func(rows []keyed) *Table {
		p := &Table{Columns: slices.Clone(t.Columns), o: t.o, path: t.path}
		for _, r := range rows {
			p.raw = append(p.raw, r.row)
		}
		return p
	}
	validation, train = part(all[:cut]), part(all[cut:])
	if train.N() < 2 {
		return nil, nil, fmt.Errorf("the table %s has too few different rows to part", t.path)
	}
	if err := train.measure(); err != nil {
		return nil, nil, err
	}
	validation.Columns = slices.Clone(train.Columns)
	return train, validation, nil
}
