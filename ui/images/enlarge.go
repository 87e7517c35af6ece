package images

import (
	"fmt"

	"fyne.io/fyne/v2"

	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// enlarge is what opens below a picture to enlarge it: by which upscaler, and how many times.
type enlarge struct {
	upscaler *kit.Choice
	scale    *kit.Choice
	known    []studio.Named
	rows     *fyne.Container
	none     *kit.Paragraph // where there is no upscaler
	start    *kit.Button
	content  *fyne.Container
}

// scales are how many times a picture may be enlarged; 0 is what the upscaler does.
var scales = []int{0, 2, 3, 4, 8}

func newEnlarge(tips *kit.Tips, start, back func()) *enlarge {
	e := &enlarge{}
	e.upscaler = kit.NewChoice(tips, kit.Tip{Name: "Upscaler", Key: "↑ ↓", Text: "The network that makes the picture larger. Each has its own look: some are for photographs, some for drawings."})
	e.scale = kit.NewChoice(tips, kit.Tip{Name: "Size", Key: "↑ ↓", Text: "How many times as wide and high the picture becomes. Another size than the upscaler's own has its result resized."})
	labels := []string{"Upscaler's own"}
	for _, s := range scales[1:] {
		labels = append(labels, fmt.Sprintf("× %d", s))
	}
	e.scale.SetLabels(labels, 0)
	const label = 44 // the column is narrow, and names of upscalers are long
	e.rows = kit.Column(kit.Tight, e.upscaler, kit.Labelled("Size", label, e.scale))
	e.none = kit.NewParagraph("There is no upscaler among your models yet: download Real-ESRGAN in Models, or drop the file of one there.", kit.Caption, kit.Secondary, 4)
	e.start = small(tips, "Upscale", kit.Tip{Name: "Upscale", Text: "Make a larger picture of this one, which stays as it is."}, start)
	e.content = kit.Column(kit.Tight, e.rows, e.none,
		kit.Equal(kit.Tight, e.start, small(tips, "Close", kit.Tip{Key: "Esc", Text: "Close without enlarging."}, back)))
	e.offer(nil)
	e.content.Hide()
	return e
}

// offer lists the upscalers that there are.
func (e *enlarge) offer(known []studio.Named) {
	wished := ""
	if i := e.upscaler.Selected(); i >= 0 {
		wished = e.known[i].ID
	}
	e.known = known
	choose(e.upscaler, known, wished, "")
	show(e.rows, len(known) > 0)
	show(e.none, len(known) == 0)
	e.start.SetEnabled(len(known) > 0)
}

// offerUpscalers lists those of the studio.
func (w *Workspace) offerUpscalers() {
	w.session.enlarge.offer(w.config.Studio.Upscalers())
	w.session.content.Refresh()
}

// upscale queues the chosen picture to be enlarged. What it says of how it was made goes with it.
func (w *Workspace) upscale() {
	m, e := w.session.chosen(), w.session.enlarge
	i := e.upscaler.Selected()
	if m == nil || i < 0 {
		return
	}
	r, times, upscaler := m.request, scales[e.scale.Selected()], e.known[i].ID
	w.session.back()
	go func() {
		r.Init, r.Upscaler, r.About = pipeline.PixelsOf(m.image), upscaler, m.meta.String()
		r.Width, r.Height, r.Batch, r.Seed = times*m.image.Rect.Dx(), times*m.image.Rect.Dy(), 1, m.seed
		w.config.Post(func() { w.asked[w.config.Queue.Submit(m.model, r)] = m.asked })
	}()
}
