package dataset

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func tableFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.csv")
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func table(t *testing.T, text string, o TableOptions) *Table {
	t.Helper()
	got, err := OpenTable(tableFile(t, text), o)
	must(t, err)
	return got
}

const iris = "\ufefflength;width;kind;always;count;hole\n1,5;2.5;setosa;7;1;NA\n2,5;4.5;setosa;7;2;5\n3,5;?;virginica;7;6;6\n4,5;6.5;x;7;3;8\n5,5;oops;y;7;4;9\n\"6,5;3;z;7;5\n"

func TestTable(t *testing.T) {
	tab := table(t, iris, TableOptions{})
	var names []string
	for _, c := range tab.Columns {
		names = append(names, c.Name)
	}
	if fmt.Sprint(names, tab.N()) != "[length width count hole] 2" {
		t.Errorf("columns %v, %d rows", names, tab.N())
	}
	var whats []string
	for _, f := range tab.Findings {
		whats = append(whats, f.What)
	}
	for _, want := range []string{`the column "kind" holds words`, `the column "always" is 7 in every row`, `the column "width" has 1 cell that hold no number`, "3 rows of 5 lack numbers", "line 7 cannot be read"} {
		if !strings.Contains(strings.Join(whats, "|"), want) {
			t.Errorf("findings %q lack %q", whats, want)
		}
	}
	full := table(t, iris, TableOptions{Columns: []string{"count", "length"}})
	if full.N() != 5 || full.Columns[0] != (Column{Name: "count", Mean: 3.2, Deviation: full.Columns[0].Deviation, Least: 1, Most: 6, Whole: true}) || math.Abs(full.Columns[0].Deviation-math.Sqrt(2.96)) > 1e-12 {
		t.Errorf("%+v", full.Columns)
	}
	row := make([]float32, 2)
	full.Row(2, row) // count 6, length 3.5
	if math.Abs(float64(row[0])-2.8/math.Sqrt(2.96)) > 1e-6 || row[1] != 0 {
		t.Errorf("row %v", row)
	}
	if got := full.Restore(row); fmt.Sprint(got) != "[6 3.5]" {
		t.Errorf("restored %v", got)
	}
	if want := 0.5 * (math.Log(2.96) + math.Log(2)); math.Abs(full.LogScale()-want) > 1e-12 {
		t.Errorf("log scale %v, want %v", full.LogScale(), want)
	}
	filled := table(t, iris, TableOptions{Columns: []string{"length", "width"}, Missing: MissingMean})
	filled.Row(2, row)
	if filled.N() != 5 || math.Abs(float64(row[1])) > 1e-6 || filled.Columns[1].Missing != 2 || filled.Columns[1].Mean != 4.5 {
		t.Errorf("%+v, row %v", filled.Columns[1], row)
	}
}

func TestTableRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "does not name the columns",
		"a,b\nx,y\nz,w\n":       "none of its columns holds numbers that vary",
		"a,b\n1,\n2,\n,3\n,4\n": "only 0 rows of 4 have all numbers",
	} {
		if _, err := OpenTable(tableFile(t, text), TableOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want … %s", text, err, want)
		}
	}
	if _, err := OpenTable(tableFile(t, "a,b\n1,2\n3,4\n"), TableOptions{Columns: []string{"c"}}); err == nil || !strings.Contains(err.Error(), `no column "c"; it has a, b`) {
		t.Errorf("%v", err)
	}
	if _, err := OpenTable(tableFile(t, "a,b\n1,2\n3,4\n"), TableOptions{MaxBytes: 4}); err == nil {
		t.Error("a file over the limit is read")
	}
}

func counting(n int) string {
	var b strings.Builder
	b.WriteString("x,y\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%g\n", i, 0.5*float64(i*i))
	}
	return b.String()
}

func TestTableBatches(t *testing.T) {
	tab := table(t, counting(10), TableOptions{})
	seen := map[float64]int{}
	var orders [][]float64
	for p := range int64(5) { // 20 rows: two epochs
		b := tab.Batch(3, p, 4)
		for i := range 4 {
			v := tab.Restore(b[2*i : 2*i+2])
			seen[v[0]]++
			orders = append(orders, v)
			if math.Abs(v[1]-0.5*v[0]*v[0]) > 1e-4 {
				t.Errorf("row %v", v)
			}
		}
	}
	for i := range 10 {
		if seen[float64(i)] != 2 {
			t.Errorf("row %d came up %d times in two epochs", i, seen[float64(i)])
		}
	}
	if slices.EqualFunc(orders[:10], orders[10:], func(a, b []float64) bool { return a[0] == b[0] }) {
		t.Error("both epochs have one order")
	}
	if !slices.Equal(tab.Batch(3, 4, 4), tab.Batch(3, 4, 4)) || slices.Equal(tab.Batch(3, 0, 4), tab.Batch(4, 0, 4)) {
		t.Error("batches do not follow the seed")
	}
	noisy := table(t, counting(10), TableOptions{Dequantise: true})
	plain, loud := 0.0, 0.0
	for p := range int64(50) {
		b := noisy.Batch(3, p, 4)
		a := tab.Batch(3, p, 4)
		for i := range 4 {
			d := float64(b[2*i]-a[2*i]) * noisy.Columns[0].Deviation
			if d < -1e-5 || d > 1+1e-5 || b[2*i+1] != a[2*i+1] {
				t.Fatalf("noise %v", d)
			}
			plain++
			loud += d
		}
		if got, want := noisy.Restore(b[:2])[0], tab.Restore(a[:2])[0]; got != want {
			t.Errorf("restored %v, want %v", got, want)
		}
	}
	if m := loud / plain; m < 0.4 || m > 0.6 {
		t.Errorf("mean noise %v, want about ½", m)
	}
}

func TestTableSplit(t *testing.T) {
	text := counting(40) + counting(40)[4:] // every row twice
	tab := table(t, text, TableOptions{})
	train, validation, err := tab.Split(0.2, 5)
	must(t, err)
	if train.N()+validation.N() != 80 || validation.N() < 16 || validation.N() > 18 {
		t.Errorf("%d and %d rows", train.N(), validation.N())
	}
	in := map[float64]bool{}
	for _, r := range train.raw {
		in[r[0]] = true
	}
	mean := 0.0
	for _, r := range validation.raw {
		if in[r[0]] {
			t.Errorf("row %v is in both", r)
		}
	}
	for _, r := range train.raw {
		mean += r[0] / float64(train.N())
	}
	if math.Abs(validation.Columns[0].Mean-mean) > 1e-9 || train.Columns[0] != validation.Columns[0] {
		t.Errorf("means %v and %v, want that of training, %v", train.Columns[0].Mean, validation.Columns[0].Mean, mean)
	}
	again, _, err := tab.Split(0.2, 5)
	must(t, err)
	if !slices.EqualFunc(again.raw, train.raw, slices.Equal[[]float64]) {
		t.Error("the second split differs")
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte(iris))
	f.Add([]byte(counting(5)))
	f.Add([]byte("a\tb\n1e308\t-1e308\n1\t2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tab, err := OpenTable(tableFile(t, string(data)), TableOptions{Missing: MissingMean})
		if err != nil {
			return
		}
		for _, v := range tab.Batch(1, 0, 4) {
			if v-v != 0 {
				t.Errorf("value %v of %+v", v, tab.Columns)
			}
		}
	})
}
