package prompt

import (
	"regexp"
	"strconv"
	"strings"
)

// LoRA is an adapter that a prompt asks for: its name, and its weights in the text encoder and in the denoiser.
type LoRA struct {
	Name       string
	Text, UNet float64
}

// String is how a prompt asks for the adapter.
func (l LoRA) String() string {
	text := "<lora:" + l.Name + ":" + strconv.FormatFloat(l.Text, 'f', -1, 64)
	if l.UNet != l.Text {
		text += ":" + strconv.FormatFloat(l.UNet, 'f', -1, 64)
	}
	return text + ">"
}

var extra = regexp.MustCompile(`<(?:lora|lyco):([^:<>]+)((?::[^:<>]*)*)>`)

// LoRAs takes <lora:name:weight> out of a text, and <lora:name:text weight:denoiser weight>, and either weight by name: te=,
// unet=. A weight that is missing is 1, or, for the denoiser, the text encoder's. Of a name that comes twice the last holds.
func LoRAs(text string) (rest string, list []LoRA) {
	rest = extra.ReplaceAllStringFunc(text, func(tag string) string {
		m := extra.FindStringSubmatch(tag)
		l := LoRA{Name: strings.TrimSpace(m[1])}
		weights := map[string]float64{}
		position := 0
		for _, arg := range strings.Split(m[2], ":")[1:] {
			name, value, named := strings.Cut(arg, "=")
			if !named {
				position++
				name, value = [...]string{"te", "unet", ""}[min(position, 3)-1], arg
			}
			if w, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && w-w == 0 {
				weights[strings.TrimSpace(name)] = w
			}
		}
		var ok bool
		if l.Text, ok = weights["te"]; !ok {
			l.Text = 1
		}
		if l.UNet, ok = weights["unet"]; !ok {
			l.UNet = l.Text
		}
		for i, old := range list {
			if old.Name == l.Name {
				list = append(list[:i], list[i+1:]...)
				break
			}
		}
		list = append(list, l)
		return ""
	})
	return rest, list
}
