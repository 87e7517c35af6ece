package kit

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
)

func TestSmoothingStartsWithoutABias(t *testing.T) {
	points := []Point{{1, 4}, {2, math.NaN()}, {3, 2}, {4, 2}}
	got := Smoothed(points, 0.25) // half is forgotten with every point
	want := []Point{{1, 4}, {3, (0.25*4 + 0.5*2) / 0.75}, {4, (0.125*4 + 0.25*2 + 0.5*2) / 0.875}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i].X != want[i].X || math.Abs(got[i].Y-want[i].Y) > 1e-12 {
			t.Errorf("point %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestTicksAreRound(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		n      int
		want   []float64
	}{
		{0, 10, 5, []float64{0, 2, 4, 6, 8, 10}},
		{0.13, 0.26, 4, []float64{0.15, 0.2, 0.25}},
		{-1, 1, 2, []float64{-1, 0, 1}},
		{0, 640, 6, []float64{0, 200, 400, 600}},
	} {
		got := ticks(c.lo, c.hi, c.n)
		if len(got) != len(c.want) {
			t.Errorf("%v to %v: %v", c.lo, c.hi, got)
			continue
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-9 {
				t.Errorf("%v to %v: %v", c.lo, c.hi, got)
			}
		}
	}
	for v, want := range map[float64]string{0.25: "0.25", 1.2: "1.2", 5e-5: "5e-5", 0: "0", 340: "340", 0.1663824: "0.1664"} {
		if got := ShortNumber(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}

// TestChartPaintsItsCurves looks for the curve where it must be: a falling line goes from the upper left to the lower right, and one
// wild value does not flatten it.
func TestChartPaintsItsCurves(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(NewTheme("dark"))
	main := make(chan func(), 100)
	c := NewChart(func(f func()) { main <- f }, 100)
	var points []Point
	for i := range 400 {
		points = append(points, Point{float64(i), 1 - float64(i)/400})
	}
	points[200].Y = 1e6
	c.Set(Series{Name: "Loss", Role: Accent, Points: points})
	w := test.NewTempWindow(t, c)
	w.SetPadded(false)
	w.Resize(fyne.NewSize(500, 300))
	c.generate(500, 300)
	deadline := time.After(5 * time.Second)
	for c.frame == nil || c.frame.Rect.Dx() != 500 {
		select {
		case f := <-main:
			f()
		case <-deadline:
			t.Fatal("no frame came")
		}
	}
	ink := RGBA(Accent)
	height := func(x int) int { // of the curve at a column; −1 without
		for y := range 300 {
			if p := c.frame.RGBAAt(x, y); p == ink {
				return y
			}
		}
		return -1
	}
	left, right := height(80), height(470)
	if left < 0 || left > 140 || right < 200 {
		t.Errorf("the curve is at %d on the left and %d on the right", left, right)
	}
	if c.scale.top > 2 || c.scale.left != 0 || c.scale.right != 399 {
		t.Errorf("the scale is %+v", c.scale)
	}
}

func TestListChoosesByKeysAndKeepsFewWidgets(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(NewTheme("dark"))
	l := NewList(true)
	var picked []int
	l.OnSelect = func(i int) { picked = append(picked, i) }
	var rows []Item
	for i := range 500 {
		rows = append(rows, Item{Title: fmt.Sprint(i)})
	}
	w := test.NewTempWindow(t, l)
	w.SetPadded(false)
	w.Resize(fyne.NewSize(300, 300))
	l.SetRows(rows, -1)
	w.Canvas().Focus(l)
	for _, key := range []fyne.KeyName{fyne.KeyDown, fyne.KeyEnd, fyne.KeyUp, fyne.KeyHome} {
		l.TypedKey(&fyne.KeyEvent{Name: key})
	}
	if want := []int{0, 1, 499, 498, 0}; !slices.Equal(picked, want) {
		t.Errorf("picked %v, want %v", picked, want)
	}
	if n := len(l.lines) + len(l.spare); n > 14 {
		t.Errorf("%d widgets for a list of %d in a window of %d rows", n, len(rows), 5)
	}
	test.Tap(l.lines[2])
	if l.Selected() != 2 {
		t.Errorf("a tap chose %d", l.Selected())
	}
	l.SetRows(rows[:1], 0)
	if l.Selected() != 0 || len(l.lines) != 1 {
		t.Errorf("of one row there are %d widgets", len(l.lines))
	}
}
