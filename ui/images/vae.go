package images

import (
	"fyne.io/fyne/v2"

	"atelier/ui/kit"
	"atelier/ui/studio"
)

// autoencoder is the row for another autoencoder than the model's own. It shows only where there is one of the model's family.
type autoencoder struct {
	choice  *kit.Choice // its first entry stands for the model's own
	fitting []studio.Named
	wished  string // what was chosen last, also where this model has no use for it
	row     *fyne.Container
}

func newAutoencoder(tips *kit.Tips, act func(kind string, do func())) *autoencoder {
	a := &autoencoder{choice: kit.NewChoice(tips, kit.Tip{Name: "VAE", Key: "↑ ↓", Text: "The network that turns what the model works on into pixels. Another one than the model's own can give cleaner colours and details."})}
	a.choice.OnChanged = func(i int) {
		act("", func() {
			if a.wished = ""; i > 0 {
				a.wished = a.fitting[i-1].ID
			}
		})
	}
	a.row = kit.Labelled("VAE", labelWidth, a.choice)
	a.offer(nil)
	return a
}

// offer lists the autoencoders of the model's family.
func (a *autoencoder) offer(fitting []studio.Named) {
	a.fitting = fitting
	choose(a.choice, append([]studio.Named{{Label: "The model's own"}}, fitting...), a.wished, "")
	show(a.row, len(fitting) > 0)
}

// load shows a choice by its path.
func (a *autoencoder) load(path string) {
	a.wished = path
	a.offer(a.fitting)
}

// path is that of the autoencoder to take; empty for the model's own.
func (a *autoencoder) path() string {
	if i := a.choice.Selected(); i > 0 {
		return a.fitting[i-1].ID
	}
	return ""
}
