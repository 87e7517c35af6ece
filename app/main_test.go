package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestNegativeNumbersAfterASpace(t *testing.T) {
	got := joinNegatives([]string{"image", "--cfg", "-3", "--seed", "-1", "--prompt", "-x", "--json", "--width=-5", "--steps", "4", "--", "-2"})
	want := []string{"image", "--cfg=-3", "--seed=-1", "--prompt", "-x", "--json", "--width=-5", "--steps", "4", "--", "-2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMegabytes(t *testing.T) {
	for in, want := range map[int64]int64{0: 0, 4000: 4_000_000_000, -7: -1_000_000, math.MaxInt64: 9_223_372_036_854_000_000, math.MinInt64: -1_000_000} {
		if got := megabytes(in); got != want {
			t.Errorf("%d MB are %d bytes, not %d", in, want, got)
		}
	}
}

func TestMistakesAreOneSentence(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"image", "missing flags: --out=FILE, --prompt=STRING; see atelier image --help"},
		{"image --bogus", "unknown flag --bogus; see atelier image --help"},
		{"bogus", "unexpected argument bogus; see atelier --help"},
		{"image --prompt x --out a.png --seed abc", `--seed: a seed is −1 for a random one, or a whole number from 0 to 18446744073709551615, not "abc"; see atelier image --help`},
		{"probe sticker --in a --out b", `expected "<component>"; see atelier probe part --help`},
	} {
		_, err := kong.Must(&commands{}, kong.Vars{"version": "test", "train_kinds": kindNames()}, kong.Name("atelier")).Parse(joinNegatives(strings.Fields(c.line)))
		if err == nil {
			t.Errorf("%q was taken", c.line)
		} else if got := mistake(err); got != c.want {
			t.Errorf("%q: %s, want %s", c.line, got, c.want)
		}
	}
}
