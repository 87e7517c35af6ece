package images

import (
	"fmt"
	"image"
	"math"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/job"
	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// stage is the middle column: the canvas, what it says while it is empty, messages, and the bar below.
type stage struct {
	tips    *kit.Tips
	picture *kit.Picture
	empty   *fyne.Container
	notice  *kit.Notice
	percent *kit.Label
	fit     *kit.Button
	actual  *kit.Button
	zoom    *fyne.Container
	meter   *kit.Meter
	status  *kit.Label
	queue   *kit.Button
	panel   *kit.Button
	later   *job.Snapshot // progress that is shown together with its preview; nil if none
	content fyne.CanvasObject
}

const exampleWidth = 440

func newStage(post func(func()), tips *kit.Tips, clearQueue, togglePanel func()) *stage {
	s := &stage{tips: tips, picture: kit.NewPicture(post), notice: kit.NewNotice(tips), meter: kit.NewMeter()}
	s.percent = kit.NewLine("", kit.Caption, kit.Secondary, 46)
	s.percent.Align = fyne.TextAlignTrailing
	s.fit = kit.NewButton(tips, "Fit", kit.Quiet, kit.Tip{Name: "Fit", Key: "Ctrl+0", Text: "Show the whole picture. The wheel zooms about the pointer, dragging moves the picture."}, s.picture.Fit)
	s.actual = kit.NewButton(tips, "100 %", kit.Quiet, kit.Tip{Name: "100 %", Key: "Ctrl+1", Text: "Show one pixel of the picture on one pixel of the screen."}, s.picture.Actual)
	for _, b := range []*kit.Button{s.fit, s.actual} {
		b.Height, b.TextSize = 24, kit.Caption
	}
	s.status = kit.NewLine("", kit.Caption, kit.Secondary, statusLeast)
	s.status.Align = fyne.TextAlignTrailing
	s.queue = kit.NewButton(tips, "", kit.Plain, kit.Tip{Name: "Queue", Text: "Tap to take the waiting jobs out; the running one goes on."}, clearQueue)
	s.queue.Height, s.queue.TextSize, s.queue.Icon = 24, kit.Caption, kit.IconClose
	s.queue.Hide()
	s.panel = kit.NewIconButton(tips, kit.IconPanel, kit.Tip{Name: "Session panel", Key: "Ctrl+B", Text: "Show or hide what was made in this session."}, togglePanel)
	s.picture.OnView = s.viewed
	s.picture.OnFrame = s.settle
	s.empty = container.New(emptyLayout{})
	s.zoom = kit.Row(kit.Gap, -1, s.percent, s.fit, s.actual)
	s.zoom.Hide()
	bar := kit.Inset(kit.Gap, 0, kit.Row(kit.Gap, 1, s.zoom, kit.Inset(kit.Gap, 0, s.meter), s.status, s.queue, s.panel))
	line := kit.NewBacking(kit.Line)
	s.content = container.New(stageLayout{s.status},
		container.NewStack(s.picture, s.empty), line, bar, s.notice)
	return s
}

// stageLayout puts the bar at the bottom and floats the notice above it, over the canvas, so that nothing moves when it comes.
type stageLayout struct{ status *kit.Label }

const (
	statusLeast, statusMost = 264, 440
)

// MinSize implements fyne.Layout.
func (l stageLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(objects[2].MinSize().Width, 200+kit.BarHeight)
}

// Layout implements fyne.Layout: canvas, line, bar, notice.
func (l stageLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	canvasHeight := size.Height - kit.BarHeight
	objects[0].Resize(fyne.NewSize(size.Width, canvasHeight))
	objects[1].Resize(fyne.NewSize(size.Width, 1))
	objects[1].Move(fyne.NewPos(0, canvasHeight))
	l.status.Width = max(statusLeast, min(statusMost, size.Width-390)) // the meter gets what is left
	objects[2].Resize(fyne.NewSize(size.Width, kit.BarHeight-1))
	objects[2].Move(fyne.NewPos(0, canvasHeight+1))
	width := min(size.Width-2*kit.Wide, 680)
	height := objects[3].(*kit.Notice).HeightFor(width)
	objects[3].Resize(fyne.NewSize(width, height))
	objects[3].Move(fyne.NewPos((size.Width-width)/2, canvasHeight-height-kit.Wide))
}

// tell shows a notice and places it for its length.
func (s *stage) tell(fail bool, text, action string, do func()) {
	if fail {
		s.notice.Fail(text, action, do)
	} else {
		s.notice.Say(text, action, do)
	}
	s.content.Refresh()
}

func (s *stage) viewed(percent float64, fit bool) {
	if s.picture.Image() == nil {
		s.zoom.Hide()
		return
	}
	s.zoom.Show()
	s.percent.Set(fmt.Sprintf("%.0f %%", percent), kit.Secondary)
	mark := func(b *kit.Button, on bool) {
		if b.Selected != on {
			b.Selected = on
			b.Refresh()
		}
	}
	mark(s.fit, fit)
	mark(s.actual, !fit && percent == 100)
}

// teach fills the empty canvas with a model's example prompts.
func (s *stage) teach(m pipeline.ModelInfo, try func(string), tips *kit.Tips) {
	if !s.empty.Visible() {
		return
	}
	begin, how := "Describe a picture to begin", "Write in the prompt and press Ctrl+Enter"
	if wordless(m) {
		begin, how = "Every seed is another picture", "Press Ctrl+Enter to make one"
	}
	if len(m.Examples) > 0 {
		how += ", or try one of these"
	}
	title, hint := kit.NewLine(begin, kit.Title, kit.Text, 100), kit.NewLine(how+".", kit.Body, kit.Secondary, 100)
	title.Align = fyne.TextAlignCenter
	hint.Align = fyne.TextAlignCenter
	rows := []fyne.CanvasObject{title, hint, kit.Inset(0, kit.Tight, kit.NewLabel("", 4, kit.Text))}
	for _, e := range m.Examples[:min(3, len(m.Examples))] {
		b := kit.NewButton(tips, e, kit.Plain, kit.Tip{Name: "Example", Text: "Write this prompt and make the picture."}, func() { try(e) })
		b.Icon, b.Left, b.Height, b.Width = kit.IconSpark, true, 40, 100
		rows = append(rows, b)
	}
	s.empty.Objects = []fyne.CanvasObject{kit.Column(kit.Gap, rows...)}
	s.empty.Refresh()
}

// emptyLayout puts its one object in the middle, exampleWidth wide where there is room.
type emptyLayout struct{}

// MinSize implements fyne.Layout.
func (emptyLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.Size{} }

// Layout implements fyne.Layout.
func (emptyLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		own := fyne.NewSize(min(exampleWidth, size.Width-2*kit.Wide), o.MinSize().Height)
		o.Resize(own)
		o.Move(fyne.NewPos((size.Width-own.Width)/2, (size.Height-own.Height)/2))
	}
}

// display puts a picture on the canvas and clears the empty state away.
func (s *stage) display(img *image.NRGBA, size image.Point) {
	if s.empty.Visible() {
		s.tips.Clear()
		s.empty.Hide()
	}
	s.picture.Display(img, size)
}

// form shows a running job: its preview, and with it, so that the window is painted once and not twice, its progress.
func (s *stage) form(snap job.Snapshot, follow bool) {
	if follow && snap.Preview != nil && snap.Preview != s.picture.Image() {
		s.later = &snap
		s.display(snap.Preview, image.Pt(snap.Request.Width, snap.Request.Height))
		return
	}
	s.later = nil
	s.progress(snap)
}

// settle shows the progress that waited for a preview.
func (s *stage) settle() {
	if s.later != nil {
		s.progress(*s.later)
		s.later = nil
	}
}

// progress shows how far the running job is.
func (s *stage) progress(snap job.Snapshot) {
	s.meter.Set(share(snap.Progress))
	s.status.Set(describe(snap.Progress, snap.Request.Batch), kit.Text)
}

// ended shows how the last job ended.
func (s *stage) ended(text string) {
	s.later = nil
	s.meter.Clear()
	s.status.Set(text, kit.Secondary)
}

func (s *stage) waiting(n int) {
	text := ""
	if n > 0 {
		text = fmt.Sprintf("%d queued", n)
	}
	if s.queue.Text == text {
		return
	}
	s.queue.Text = text
	if n > 0 {
		s.queue.Show()
	} else {
		s.queue.Hide()
	}
	s.queue.Refresh()
	s.content.Refresh()
}

// share is how full the meter is: nearly all of it is the steps, which take nearly all of the time.
func share(p pipeline.Progress) float64 {
	const before, steps = 0.03, 0.87
	done := 0.0
	if p.Steps > 0 {
		done = float64(p.Step) / float64(p.Steps)
	}
	switch p.Phase {
	case "denoise", "tile":
		return before + steps*done
	case "decode":
		return before + steps
	case "upscale":
		return before + steps + 0.06
	case "save":
		return 1
	}
	return before / 2
}

var phases = map[string]string{
	"": "Starting", "prepare": "Preparing the device", "turn": "Waiting for a training step to end", "load": "Loading the model", "text": "Reading the prompt", "decode": "Decoding", "upscale": "Enlarging", "save": "Saving",
}

// describe puts progress into words: step, time left, speed, memory.
func describe(p pipeline.Progress, batch int) string {
	var parts []string
	step, steps := p.Step, p.Steps
	if batch > 1 && steps >= batch { // steps are counted over the whole batch
		each := steps / batch
		picture := min(step/each, batch-1)
		step, steps = step-picture*each, each
		parts = append(parts, fmt.Sprintf("Picture %d of %d", picture+1, batch))
	}
	if p.Phase == "denoise" {
		parts = append(parts, fmt.Sprintf("Step %d of %d", step, steps))
	} else if p.Phase == "tile" {
		parts = append(parts, fmt.Sprintf("Enlarging · %d of %d tiles", step, steps))
	} else if word, ok := phases[p.Phase]; ok {
		parts = append(parts, word)
	} else {
		parts = append(parts, p.Phase)
	}
	if p.Left > 0 {
		parts = append(parts, Seconds(p.Left)+" left")
	}
	if p.Phase == "denoise" && p.Step > 0 && p.Elapsed > 0 {
		parts = append(parts, speed(float64(p.Step)/p.Elapsed.Seconds()))
	}
	if p.Bytes > 0 {
		parts = append(parts, kit.Bytes(p.Bytes))
	}
	return strings.Join(parts, " · ")
}

func speed(stepsPerSecond float64) string {
	if stepsPerSecond >= 1 {
		return fmt.Sprintf("%.1f steps/s", stepsPerSecond)
	}
	return fmt.Sprintf("%.1f s/step", 1/stepsPerSecond)
}

// Seconds writes a duration as people say it: "3.4 s", "2 min 05 s".
func Seconds(d time.Duration) string {
	s := d.Seconds()
	if s < 59.5 {
		return fmt.Sprintf("%.1f s", s)
	}
	whole := int(math.Round(s))
	return fmt.Sprintf("%d min %02d s", whole/60, whole%60)
}
