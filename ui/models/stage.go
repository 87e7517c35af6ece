package models

import (
	"fmt"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/ui/kit"
)

// page is one of the lists of the middle column.
type page int

const (
	pageHere page = iota
	pageCatalogue
	pageDownloads
)

// stage is the middle column: one of three lists, messages, and the bar below.
type stage struct {
	tips    *kit.Tips
	entries *kit.List
	offers  *kit.List
	loads   *kit.List
	pages   []fyne.CanvasObject
	tabs    []*kit.Button
	page    page
	opened  func(page)
	empty   *kit.Label
	hint    *kit.Label
	none    *kit.Label // of downloads
	first   *fyne.Container
	notice  *kit.Notice
	meter   *kit.Meter
	status  *kit.Label
	cancel  *kit.Button
	panel   *kit.Button
	bar     *fyne.Container
	content fyne.CanvasObject
}

type stageActions struct {
	entry, offer, load func(index int)
	cancel, panel      func()
	opened             func(page)
}

func newStage(tips *kit.Tips, do stageActions) *stage {
	s := &stage{tips: tips, entries: kit.NewList(true), offers: kit.NewList(true), loads: kit.NewList(true), notice: kit.NewNotice(tips), meter: kit.NewMeter()}
	s.entries.OnSelect, s.offers.OnSelect, s.loads.OnSelect = do.entry, do.offer, do.load
	s.empty, s.hint = centred("No models yet", kit.Title, kit.Text), centred("", kit.Body, kit.Secondary)
	s.first = container.New(middle{}, kit.Column(kit.Gap, s.empty, s.hint))
	s.none = centred("Nothing is on its way. Choose a model from the catalogue.", kit.Body, kit.Secondary)
	s.pages = []fyne.CanvasObject{
		container.NewStack(kit.Inset(kit.Gap, 0, s.entries), s.first),
		kit.Inset(kit.Gap, 0, s.offers),
		container.NewStack(kit.Inset(kit.Gap, 0, s.loads), container.New(middle{}, s.none)),
	}
	for i, t := range []struct{ name, text string }{
		{"On this machine", "The models in the studio's own folder and in linked ones."},
		{"Catalogue", "Well-known open models, with their licences, to download."},
		{"Downloads", "What is on its way."},
	} {
		b := kit.NewButton(tips, t.name, kit.Quiet, kit.Tip{Name: t.name, Text: t.text}, func() { s.open(page(i)) })
		b.Height = 28
		s.tabs = append(s.tabs, b)
	}
	s.status = kit.NewLine("", kit.Caption, kit.Secondary, 264)
	s.status.Align = fyne.TextAlignTrailing
	s.cancel = kit.NewButton(tips, "Stop", kit.Plain, kit.Tip{Name: "Stop", Key: "Esc", Text: "Stop what goes on; nothing half done is left."}, do.cancel)
	s.cancel.Height, s.cancel.TextSize, s.cancel.Icon = 24, kit.Caption, kit.IconClose
	s.cancel.Hide()
	s.panel = kit.NewIconButton(tips, kit.IconPanel, kit.Tip{Name: "Details panel", Key: "Ctrl+B", Text: "Show or hide what is known of the chosen model."}, do.panel)
	head := kit.Row(kit.Tight, -1, s.tabs[0], s.tabs[1], s.tabs[2])
	s.bar = kit.Row(kit.Gap, 0, kit.Inset(kit.Gap, 0, s.meter), s.status, s.cancel, s.panel)
	s.content = kit.PagedStage(head, container.NewStack(s.pages...), kit.Inset(kit.Gap, 0, s.bar), s.status, s.notice)
	s.open(pageHere)
	s.opened = do.opened
	return s
}

func centred(text string, size float32, role fyne.ThemeColorName) *kit.Label {
	l := kit.NewLine(text, size, role, 100)
	l.Align = fyne.TextAlignCenter
	return l
}

// open shows a list and hides the others.
func (s *stage) open(p page) {
	s.page = p
	s.tips.Clear()
	for i, o := range s.pages {
		shown(o, page(i) == p)
		s.tabs[i].Selected = page(i) == p
		s.tabs[i].Refresh()
	}
	if s.opened != nil {
		s.opened(p)
	}
}

func shown(o fyne.CanvasObject, on bool) {
	if on {
		o.Show()
	} else {
		o.Hide()
	}
}

// setEntries shows the models that the search picked; any tells whether there are others.
func (s *stage) setEntries(rows []kit.Item, selected int, any bool) {
	s.entries.SetRows(rows, selected)
	shown(s.first, len(rows) == 0)
	if any {
		s.empty.Set("No model is like that", kit.Text)
		s.hint.Set("Take a word out of the search, or show all kinds.", kit.Secondary)
	} else {
		s.empty.Set("No models yet", kit.Text)
		s.hint.Set("Link a folder of another program, drop model files here, or see the catalogue.", kit.Secondary)
	}
}

// setLoads shows downloads.
func (s *stage) setLoads(rows []kit.Item, selected, active int) {
	s.loads.SetRows(rows, selected)
	shown(s.none, len(rows) == 0)
	text := "Downloads"
	if active > 0 {
		text = fmt.Sprintf("Downloads (%d)", active)
	}
	if s.tabs[pageDownloads].Text != text {
		s.tabs[pageDownloads].Text = text
		s.tabs[pageDownloads].Refresh()
		s.content.Refresh()
	}
}

// goes shows how far something is that takes a while; rests, that it is over.
func (s *stage) goes(text string, share float64) {
	s.status.Set(text, kit.Text)
	s.meter.Set(share)
	if !s.cancel.Visible() {
		s.cancel.Show()
		s.bar.Refresh()
	}
}

func (s *stage) rests(text string) {
	s.status.Set(text, kit.Secondary)
	s.meter.Clear()
	s.cancel.Hide()
	s.bar.Refresh()
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

// middle puts its one object in the middle, as wide as there is room.
type middle struct{}

// MinSize implements fyne.Layout.
func (middle) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.Size{} }

// Layout implements fyne.Layout.
func (middle) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	width := min(560, size.Width-2*kit.Wide)
	height := objects[0].MinSize().Height
	objects[0].Resize(fyne.NewSize(width, height))
	objects[0].Move(fyne.NewPos((size.Width-width)/2, max(0, (size.Height-height)/2-20)))
}

// ticker lets something through a few times a second at most, and the last time for certain.
type ticker struct {
	mu      sync.Mutex
	waiting func()
	armed   bool
}

const beat = 120 * time.Millisecond

// soon does something in a moment, unless something else is asked for by then. It may be called from any goroutine.
func (t *ticker) soon(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = do
	if t.armed {
		return
	}
	t.armed = true
	time.AfterFunc(beat, func() {
		t.mu.Lock()
		do := t.waiting
		t.armed, t.waiting = false, nil
		t.mu.Unlock()
		do()
	})
}
