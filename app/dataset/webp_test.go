package dataset

import (
	"encoding/base64"
	"image/color"
	"slices"
	"testing"
)

// webps are 8 × 6 pictures by libwebp: the left half (20, 60, 220) at half opacity, the right half (200, 40, 30); the lossy one without
// alpha has the same colours opaque. The second frame of the animation is green.
var webps = map[string]string{
	"lossless": "UklGRigAAABXRUJQVlA4TBwAAAAvB0ABEA9wCpQzId/D94H/sQSAIBL895qI6H8I",
	"alpha":    "UklGRoIAAABXRUJQVlA4WAoAAAAQAAAABwAABQAAQUxQSBIAAAABD/DA/4iIABBEgv9eExH9DwFWUDggSgAAADADAJ0BKggABgAAwBIlqAJ0ugH4AUYD8AK7/3AAEYHctEAA/v6hDTA2//Pejluavz0eyWevE/4wH/mh+qZqv7UsQQDaKH/2mIAA",
	"lossy":    "UklGRlYAAABXRUJQVlA4IEoAAAAwAwCdASoIAAYAAMASJagCdLoB+AFGA/ACu/9wABGB3LRAAP7+oQ0wNv/z3o5bmr89HslnrxP+MB/5ofqmar+1LEEA2ih/9piAAA==",
	"animated": "UklGRowAAABXRUJQVlA4WAoAAAASAAAABwAABQAAQU5JTQYAAAAAAAAAAABBTk1GMAAAAAAAAAAAAAcAAAUAAGQAAAJWUDhMFwAAAC8HQAEQD3Ae9lPQXoj7f4DBg8JH9D8AAEFOTUYoAAAAAAAAAAAABwAABQAAZAAAAFZQOEwPAAAALwdAAQAH0P+I/gciov8BAA==",
}

func TestWebP(t *testing.T) {
	for name, text := range webps {
		data, err := base64.StdEncoding.DecodeString(text)
		must(t, err)
		d := open(t, folder(t, map[string][]byte{"a.webp": data}))
		if it := d.Items[0]; it.Format != "webp" || it.Width != 8 || it.Height != 6 {
			t.Errorf("%s: %s, %d × %d", name, it.Format, it.Width, it.Height)
		}
		m, err := d.Picture(t.Context(), 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		left, right, slack := color.RGBA{10, 30, 110, 128}, color.RGBA{200, 40, 30, 255}, 0
		if name == "lossy" {
			left = color.RGBA{20, 60, 220, 255}
		}
		if name == "lossy" || name == "alpha" {
			slack = 24
		}
		if got := m.RGBAAt(1, 3); !close8(got, left, slack) {
			t.Errorf("%s: left is %v, want %v", name, got, left)
		}
		if got := m.RGBAAt(6, 3); !close8(got, right, slack) {
			t.Errorf("%s: right is %v, want %v", name, got, right)
		}
		r := check(t, open(t, folder(t, map[string][]byte{"a.webp": data[:len(data)-20], "b.webp": data})), CheckOptions{})
		if f := r.Findings[0]; f.File != "a.webp" || f.Kind != Truncated {
			t.Errorf("%s: a cut file gives %+v", name, f)
		}
	}
}

func close8(a, b color.RGBA, slack int) bool {
	near := func(x, y uint8) bool { return max(int(x), int(y))-min(int(x), int(y)) <= slack }
	return near(a.R, b.R) && near(a.G, b.G) && near(a.B, b.B) && near(a.A, b.A)
}

func TestFirstFrameLiesWithin(t *testing.T) {
	data, err := base64.StdEncoding.DecodeString(webps["animated"])
	must(t, err)
	moved := slices.Clone(data)
	at := slices.Index(moved, 'F') // RIFF
	for ; string(moved[at:at+4]) != "ANMF"; at++ {
	}
	moved[at+8] = 1 // two pixels to the right, beyond the canvas
	r := check(t, open(t, folder(t, map[string][]byte{"a.webp": moved, "b.webp": data})), CheckOptions{})
	if f := r.Findings[0]; f.File != "a.webp" || f.What != "the first frame does not lie within the picture" {
		t.Errorf("%+v", f)
	}
}
