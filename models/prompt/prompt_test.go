package prompt

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func pieces(list []Piece) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%q %.6g; ", p.Text, p.Weight)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// TestAttention has the examples of A1111's own documentation, and the corners of its syntax.
func TestAttention(t *testing.T) {
	for in, want := range map[string]string{
		"":                      `"" 1`,
		"normal text":           `"normal text" 1`,
		"an (important) word":   `"an " 1; "important" 1.1; " word" 1`,
		"(unbalanced":           `"unbalanced" 1.1`,
		`\(literal\]`:           `"(literal]" 1`,
		"(unnecessary)(parens)": `"unnecessaryparens" 1.1`,
		"a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": `"a " 1; "house" 1.573; " " 1.1; "on" 1; " a " 1.1; "hill" 0.55; ", sun, " 1.1; "sky" 1.4641; "." 1.1`,
		"((x))":           `"x" 1.21`,
		"[[x]]":           `"x" 0.826446`,
		"((x) (y [z":      `"x" 1.21; " " 1.1; "y " 1.21; "z" 1.1`,
		"(a:-0.5)":        `"a" -0.5`,
		"(a: 1.5 )b":      `"a" 1.5; "b" 1`,
		"a:1.3)":          `"a:1.3)" 1`,
		"a)b]":            `"a)b]" 1`,
		"(a:1.2.3)":       `"a:1.2.3)" 1.1`,
		`a\\b\c`:          `"a\\bc" 1`,
		"one BREAK two":   `"one" 1; "BREAK" -1; "two" 1`,
		"BREAKFAST":       `"BREAKFAST" 1`,
		"(a BREAK b:1.5)": `"a" 1.5; "BREAK" -1.5; "b" 1.5`,
		"time 12:30":      `"time 12:30" 1`,
		"日本 (山:1.2)":      `"日本 " 1; "山" 1.2`,
	} {
		if got := pieces(Attention(in)); got != want {
			t.Errorf("%q\ngives %s\n want %s", in, got, want)
		}
	}
}

// TestSchedule has the examples of A1111's own documentation at ten steps.
func TestSchedule(t *testing.T) {
	for in, want := range map[string]string{
		"test":             "10 test",
		"a [b:3]":          "3 a |10 a b",
		"a [b: 3]":         "3 a |10 a b",
		"a [[[b]]:2]":      "2 a |10 a [[b]]",
		"[(a:2):3]":        "3 |10 (a:2)",
		"a [b : c : 1] d":  "1 a b  d|10 a  c  d",
		"a[b:[c:d:2]:1]e":  "1 abe|2 ace|10 ade",
		"a [unbalanced":    "10 a [unbalanced",
		"a [b:.5] c":       "5 a  c|10 a b c",
		"a [b:c:0.25]":     "2 a b|10 a c",
		"a [b::0.6] c":     "6 a b c|10 a  c",
		"a [:b:0.6] c":     "6 a  c|10 a b c",
		"a [b:c:1.0]":      "10 a b",
		"a [b:c:99]":       "10 a b",
		"a [b:c:0]":        "10 a c",
		"a [b:c:-1]":       "10 a c",
		"[{b|d{:.5] c":     "10 [{b|d{:.5] c",
		"((a][:b:c [d:3]":  "3 ((a][:b:c |10 ((a][:b:c d",
		"[a|b]":            "1 a|2 b|3 a|4 b|5 a|6 b|7 a|8 b|9 a|10 b",
		"[a|(b:1.1)|c]":    "1 a|2 (b:1.1)|3 c|4 a|5 (b:1.1)|6 c|7 a|8 (b:1.1)|9 c|10 a",
		"[fe|]male":        "1 female|2 male|3 female|4 male|5 female|6 male|7 female|8 male|9 female|10 male",
		"a | b [c:3]":      "10 a | b [c:3]",
		"a [b:c]":          "10 a [b:c]",
		"a [b:c:d:2]":      "10 a [b:c:d:2]",
		`a \[b:c:2\]`:      `10 a \[b:c:2\]`,
		`trailing [b:2] \`: `10 trailing [b:2] \`,
		"time 12:30 [x:2]": "2 time 12:30 |10 time 12:30 x",
		"(a [b:2]:1.2)":    "2 (a :1.2)|10 (a b:1.2)",
	} {
		var got []string
		for _, p := range Schedule(in, 10) {
			got = append(got, fmt.Sprintf("%d %s", p.Until, p.Text))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q\ngives %s\n want %s", in, strings.Join(got, "|"), want)
		}
	}
	deep := strings.Repeat("[", 20000) + "a" + strings.Repeat(":b:3]", 10000)
	if len(Schedule(deep, 10)) == 0 {
		t.Error("no phases")
	}
	phases := Schedule("[a:b:3]", 10)
	for step, want := range map[int]string{1: "a", 3: "a", 4: "b", 10: "b", 11: "b"} {
		if got := At(phases, step); got != want {
			t.Errorf("step %d: %q, want %q", step, got, want)
		}
	}
	if math.Abs(float64(len(phases)-2)) > 0 {
		t.Errorf("%v", phases)
	}
}
