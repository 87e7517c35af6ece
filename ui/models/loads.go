package models

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fyne.io/fyne/v2"

	"atelier/app/download"
	"atelier/app/modelstore"
	"atelier/ui/kit"
)

// load is a download as the list shows it: one of the manager's, or one of an earlier time that nobody has gone on with yet.
type load struct {
	download.Status
	earlier bool
}

// standing is the download that the details show.
type standing struct {
	path  string
	state download.State
	text  *kit.Paragraph
}

// turned follows the choice of another list.
func (w *Workspace) turned(p page) {
	switch p {
	case pageHere:
		if i := w.stage.entries.Selected(); i >= 0 {
			w.showEntry(i)
			return
		}
	case pageCatalogue:
		if i := w.stage.offers.Selected(); i >= 0 {
			w.showOffer(i)
			return
		}
	case pageDownloads:
		if i := w.stage.loads.Selected(); i >= 0 {
			w.showLoad(i)
			return
		}
	}
	w.details.clear(p)
}

// searchOffers picks what of the catalogue has all words of a query, and is of its kind.
func (w *Workspace) searchOffers(q modelstore.Query) {
	chosen := ""
	if i := w.stage.offers.Selected(); i >= 0 && i < len(w.offers) {
		chosen = w.offers[i].ID
	}
	words := strings.Fields(strings.ToLower(q.Words))
	w.offers = slices.DeleteFunc(modelstore.Catalogue(), func(o modelstore.Offer) bool {
		text := strings.ToLower(strings.Join([]string{o.Name, o.ID, o.Family, offerKind(o), o.Licence.Name, o.GoodFor}, " "))
		return q.Kind != "" && o.Kind != q.Kind || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
	w.listOffers(slices.IndexFunc(w.offers, func(o modelstore.Offer) bool { return o.ID == chosen }))
	if w.stage.page == pageCatalogue {
		w.turned(pageCatalogue)
	}
}

// listOffers shows the catalogue with one of it chosen, or −1.
func (w *Workspace) listOffers(selected int) {
	rows := make([]kit.Item, len(w.offers))
	for i, o := range w.offers {
		rows[i] = kit.Item{Title: o.Name, Side: sizeText(o), Icon: iconOf(o.Kind), Detail: strings.Join(nonEmpty(offerKind(o), o.Family, o.Licence.Name), " · ")}
		if w.here[o.ID] {
			rows[i].Icon, rows[i].Side = kit.IconCheck, "on this machine"
		}
	}
	w.stage.offers.SetRows(rows, selected)
}

func offerKind(o modelstore.Offer) string {
	if o.Kind == "" {
		return "Vocabulary"
	}
	return kindLabel(o.Kind)
}

func sizeText(o modelstore.Offer) string {
	if n := o.Size(); n > 0 {
		return kit.Bytes(n)
	}
	return ""
}

// checkOffers finds out which offers are on this machine, off the main thread.
func (w *Workspace) checkOffers() {
	offers := modelstore.Catalogue()
	w.background(func() {
		here := map[string]bool{}
		for _, o := range offers {
			if w.config.Store.Accepted(o) {
				left, err := w.config.Store.Requests(o)
				here[o.ID] = err == nil && len(left) == 0
			}
		}
		w.config.Post(func() {
			w.here = here
			w.listOffers(w.stage.offers.Selected())
			if i := w.stage.offers.Selected(); i >= 0 && w.stage.page == pageCatalogue {
				w.showOffer(i)
			}
		})
	})
}

// showOffer shows what an offer is good for and its licence.
func (w *Workspace) showOffer(index int) {
	if index < 0 || index >= len(w.offers) {
		return
	}
	o := w.offers[index]
	tips := w.config.Tips
	read := kit.NewButton(tips, "Read the licence", kit.Plain, kit.Tip{Name: "Read the licence", Text: o.Licence.URL}, func() { w.open(o.Licence.URL) })
	read.Height, read.TextSize = 26, kit.Caption
	var files []string
	for _, f := range o.Files {
		name := f.File
		if name == "" {
			name = f.Name
		}
		if f.Size > 0 {
			name += ", " + kit.Bytes(f.Size)
		}
		files = append(files, name)
	}
	objects := []fyne.CanvasObject{
		kit.Flow(2, kit.NewParagraph(o.Name, kit.Section, kit.Text, 2), kit.NewParagraph(strings.Join(nonEmpty(offerKind(o), o.Family), " · "), kit.Caption, kit.Secondary, 2)),
		kit.NewParagraph(o.GoodFor, 13, kit.Text, 8),
		kit.Flow(kit.Gap, fact("Licence", o.Licence.Name, 2), kit.NewParagraph(o.Licence.Says, 13, kit.Text, 10), read),
		facts([2]string{"Size", sizeText(o)}, [2]string{"Files", strings.Join(files, "\n")}, [2]string{"From", strings.Join(sources(o), "\n")}),
	}
	get := kit.NewButton(tips, "Accept and download", kit.Primary, kit.Tip{Name: "Accept and download", Text: "Agree to the licence above and download the model into the studio's own folder."}, func() { w.get(o) })
	switch {
	case w.here[o.ID]:
		get.Text = "On this machine"
		get.SetEnabled(false)
		get.SetTip(kit.Tip{Name: "On this machine", Text: "All of its files are there."})
	case w.onItsWay(o):
		get.Text = "On its way"
		get.SetEnabled(false)
		get.SetTip(kit.Tip{Name: "On its way", Text: "See how far it is in the list of downloads."})
	case w.config.Store.Accepted(o):
		get.Text = "Download"
		get.SetTip(kit.Tip{Name: "Download", Text: "Download the model into the studio's own folder. Its licence was accepted before."})
	}
	get.Refresh()
	w.details.set(objects, get)
}

// sources are the repositories or addresses that an offer comes from.
func sources(o modelstore.Offer) []string {
	var out []string
	for _, f := range o.Files {
		from := f.Repo
		if from == "" {
			from = f.URL
		}
		if !slices.Contains(out, from) {
			out = append(out, from)
		}
	}
	return out
}

func (w *Workspace) onItsWay(o modelstore.Offer) bool {
	for _, f := range o.Files {
		name := f.Name
		if name == "" {
			name = filepath.Base(f.File)
		}
		if slices.ContainsFunc(w.loads, func(l load) bool { return filepath.Base(l.Path) == name && !l.State.Rests() }) {
			return true
		}
	}
	return false
}

// get downloads an offer, whose licence the person has agreed to with that.
func (w *Workspace) get(o modelstore.Offer) {
	w.background(func() {
		err := w.config.Store.Accept(o)
		var list []download.Request
		if err == nil {
			list, err = w.config.Store.Requests(o)
		}
		for _, r := range list {
			if _, addErr := w.downloads.Add(r); addErr != nil && !errors.Is(addErr, fs.ErrExist) {
				err = addErr
			}
		}
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			w.listDownloads()
			w.stage.open(pageDownloads)
		})
	})
}

// offerUnfinished lists what was begun at another time and not finished.
func (w *Workspace) offerUnfinished(all []download.Request) {
	for _, r := range all {
		w.loads = append(w.loads, load{download.Status{Request: r, State: download.Paused}, true})
	}
	w.listDownloads()
}

// listDownloads brings the list of downloads up to date.
func (w *Workspace) listDownloads() {
	before := map[int]download.State{}
	for _, l := range w.loads {
		if !l.earlier {
			before[l.ID] = l.State
		}
	}
	var all []load
	now := w.downloads.List()
	for _, l := range w.loads {
		if l.earlier && !slices.ContainsFunc(now, func(s download.Status) bool { return s.Path == l.Path }) {
			all = append(all, l)
		}
	}
	arrived, active := false, 0
	for _, s := range now {
		all = append(all, load{s, false})
		arrived = arrived || s.State == download.Done && before[s.ID] != download.Done
		if !s.State.Rests() {
			active++
		}
	}
	selected := w.stage.loads.Selected()
	w.loads = all
	rows := make([]kit.Item, len(all))
	for i, l := range all {
		rows[i] = loadRow(l)
	}
	w.stage.setLoads(rows, selected, active)
	if w.stage.page == pageDownloads && selected >= 0 && selected < len(all) {
		if l := all[selected]; l.State == w.standing.state && l.Path == w.standing.path {
			w.standing.text.Set(loadText(l)) // the buttons stay where a pointer may be pressing one
		} else {
			w.showLoad(selected)
		}
	}
	if arrived && w.work == nil {
		w.Scan()
	}
	if active > 0 && !w.polling { // a download that connects says nothing of itself
		w.polling = true
		time.AfterFunc(time.Second, func() {
			w.config.Post(func() {
				w.polling = false
				w.listDownloads()
			})
		})
	}
}

func loadRow(l load) kit.Item {
	r := kit.Item{Title: filepath.Base(l.Path), Icon: kit.IconSave, Detail: loadText(l)}
	if l.Total > 0 {
		r.Side = kit.Bytes(l.Have) + " of " + kit.Bytes(l.Total)
		if l.State != download.Done {
			r.Share = max(0.005, float64(l.Have)/float64(l.Total))
		}
	} else if l.Size > 0 {
		r.Side = kit.Bytes(l.Size)
	}
	switch l.State {
	case download.Done:
		r.Icon, r.Side = kit.IconCheck, kit.Bytes(max(l.Have, l.Total))
	case download.Failed:
		r.Icon, r.Role = kit.IconWarning, kit.Loss
	}
	return r
}

// loadText says how a download stands.
func loadText(l load) string {
	switch l.State {
	case download.Queued:
		return "Waits its turn"
	case download.Checking:
		return "Checking that it came whole"
	case download.Paused:
		if l.earlier {
			return "Not finished the last time; it can go on"
		}
		return "Paused"
	case download.Done:
		return "Whole and checked"
	case download.Cancelled:
		return "Stopped"
	case download.Failed:
		if l.Err != nil {
			return kit.Sentence(l.Err)
		}
		return "Failed"
	}
	var parts []string
	if l.Speed > 0 {
		parts = append(parts, kit.Bytes(int64(l.Speed))+"/s")
	}
	if l.Left > 0 {
		parts = append(parts, timeText(l.Left)+" left")
	}
	if l.Note != "" {
		parts = append(parts, l.Note)
	}
	if len(parts) == 0 {
		return "Connecting"
	}
	return strings.Join(parts, " · ")
}

// timeText writes a time as people say it.
func timeText(d time.Duration) string {
	s := int(math.Round(d.Seconds()))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
}

// showLoad shows a download and what can be done with it.
func (w *Workspace) showLoad(index int) {
	if index < 0 || index >= len(w.loads) {
		return
	}
	l := w.loads[index]
	w.standing = standing{path: l.Path, state: l.State, text: kit.NewParagraph(loadText(l), kit.Caption, kit.Secondary, 6)}
	objects := []fyne.CanvasObject{
		kit.Flow(2, kit.NewParagraph(filepath.Base(l.Path), kit.Section, kit.Text, 3), w.standing.text),
		facts([2]string{"Goes to", l.Path}, [2]string{"Comes from", l.URL}, [2]string{"SHA-256", l.SHA256}),
	}
	tips := w.config.Tips
	button := func(text string, style kit.Style, tip string, do func() error) *kit.Button {
		return kit.NewButton(tips, text, style, kit.Tip{Name: text, Text: tip}, func() {
			w.background(func() {
				err := do()
				w.config.Post(func() {
					if err != nil {
						w.tell(err)
					}
					w.listDownloads()
				})
			})
		})
	}
	var buttons []fyne.CanvasObject
	cancel := button("Stop", kit.Stop, "Stop this download and throw away what has come.", func() error { return w.downloads.Cancel(l.ID) })
	stop := kit.NewButton(tips, "Stop…", kit.Stop, kit.Tip{Name: "Stop", Text: "Stop this download and throw away what has come, after asking."}, func() {
		w.config.Confirm("Stop this download?", "What has come of "+filepath.Base(l.Path)+" is thrown away. Pause it to keep that.", "Stop", func() { cancel.OnTapped() })
	})
	switch {
	case l.earlier:
		buttons = append(buttons, button("Go on", kit.Primary, "Go on where the download was interrupted.", func() error { _, err := w.downloads.Add(l.Request); return err }))
	case l.State == download.Paused, l.State == download.Failed:
		buttons = append(buttons, button("Go on", kit.Primary, "Go on where it stopped.", func() error { return w.downloads.Resume(l.ID) }), stop)
	case !l.State.Rests():
		buttons = append(buttons, button("Pause", kit.Plain, "Wait; what has come is kept.", func() error { return w.downloads.Pause(l.ID) }), stop)
	}
	w.details.set(objects, buttons...)
}
