// Package models is the workspace of the model manager: what is on this machine, what can be had, and what is on its way.
package models

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"fyne.io/fyne/v2"

	"atelier/app/dataset"
	"atelier/app/download"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// Config is what the workspace works with.
type Config struct {
	Post      func(func()) // runs a function on the main thread, later
	Tips      *kit.Tips
	Store     *modelstore.Store
	Settings  *settings.Store
	UserAgent string // of downloads
	Browse    func(start string, done func(folder string))
	Confirm   func(title, text, action string, do func()) // asks before something is destroyed
	Open      func(target string) error                   // shows a folder or a page by the system's own means; called off the main thread
	Name      func(path string) (string, bool)            // of a model in the image workspace's list
	Use       func(studio.Use)
	Changed   func(entries []modelstore.Entry) // other models are there now; called off the main thread
	Problem   error                            // why the person's own list of folders is not in use; nil where it is
}

// Workspace is the model manager. It is used on the main thread only.
type Workspace struct {
	config    Config
	form      *form
	stage     *stage
	details   *details
	columns   *kit.Columns
	downloads *download.Manager
	entries   []modelstore.Entry // all that are known
	shown     []modelstore.Entry // that the search picks
	problems  []modelstore.Problem
	offers    []modelstore.Offer // that the search picks
	here      map[string]bool    // offers that are on this machine, by id
	loads     []load
	standing  standing
	polling   bool
	thumbs    map[string]*thumb // by path
	hashes    hashes
	work      context.CancelFunc
	working   string // what goes on in the background
	told      ticker
	life      context.Context
	end       context.CancelFunc
	busy      sync.WaitGroup
}

// New builds the workspace with what is known from the last time.
func New(config Config) *Workspace {
	w := &Workspace{config: config, thumbs: map[string]*thumb{}, here: map[string]bool{}}
	w.life, w.end = context.WithCancel(context.Background())
	saved := config.Settings.Get()
	w.downloads = config.Store.Downloads(config.UserAgent, func(download.Status) {
		w.told.soon(func() { config.Post(w.listDownloads) })
	})
	w.form = newForm(config.Tips, formActions{search: w.search, link: w.link, unlink: w.unlink, scan: w.Scan, folder: func() { w.open(config.Store.Own()) }, choose: w.chooseOwn})
	w.stage = newStage(config.Tips, stageActions{entry: w.showEntry, offer: w.showOffer, load: w.showLoad, cancel: func() { w.Escape() }, panel: w.TogglePanel, opened: w.turned})
	w.details = newDetails()
	left := kit.FormColumn("Models", w.form.scroller(), w.form.foot)
	w.columns = kit.NewColumns(left, w.stage.content, w.details.content, saved.Window.ParameterColumn, max(saved.Window.SessionColumn, 280))
	w.columns.HideRight(saved.Window.SessionHidden)
	w.columns.OnMoved = func(left, right float32) {
		config.Settings.Update(func(s *settings.Settings) { s.Window.ParameterColumn, s.Window.SessionColumn = left, right })
	}
	w.stage.panel.Bright = !saved.Window.SessionHidden
	w.stage.panel.Refresh()
	w.search()
	return w
}

// Content is what the window shows for this workspace.
func (w *Workspace) Content() fyne.CanvasObject { return w.columns }

// Begin shows what is known, looks through the folders, and finds downloads that were not finished. It is called once.
func (w *Workspace) Begin() {
	w.background(func() {
		known := w.config.Store.Entries()
		unfinished, err := w.config.Store.Unfinished()
		folders := w.config.Store.Folders()
		w.config.Changed(known)
		w.config.Post(func() {
			w.form.setFolders(folders)
			w.take(known, nil)
			if err == nil {
				w.offerUnfinished(unfinished)
			}
			w.Scan()
			if w.config.Problem != nil {
				w.tell(w.config.Problem)
			}
		})
	})
}

// background runs something off the main thread that Wait waits for.
func (w *Workspace) background(do func()) { w.busy.Go(do) }

// begin starts the one long thing that goes on at a time, with its words in the bar; it gives what ends it, or nil where another one
// goes on.
func (w *Workspace) begin(what string) context.Context {
	if w.work != nil {
		w.tell(errors.New(w.working + " is not done yet; wait for it, or stop it with Esc"))
		return nil
	}
	ctx, cancel := context.WithCancel(w.life)
	w.work, w.working = cancel, what
	w.stage.goes(what+"…", 0)
	return ctx
}

// finish ends what begin began.
func (w *Workspace) finish(text string) {
	if w.work != nil {
		w.work()
	}
	w.work, w.working = nil, ""
	w.stage.rests(text)
}

// Refresh looks through all folders, unless something else goes on.
func (w *Workspace) Refresh() {
	if w.work == nil {
		w.Scan()
	}
}

// Scan looks through all folders, off the main thread.
func (w *Workspace) Scan() {
	ctx := w.begin("Looking through the folders")
	if ctx == nil {
		return
	}
	var beat ticker
	w.background(func() {
		entries, problems, err := w.config.Store.Scan(ctx, func(p modelstore.Scanning) {
			beat.soon(func() {
				w.config.Post(func() {
					if w.work != nil && ctx.Err() == nil {
						w.stage.goes("Found "+dataset.Count(p.Models, "model")+", read "+dataset.Count(p.Read, "header"), share(int64(p.Read), int64(p.Models)))
					}
				})
			})
		})
		folders := w.config.Store.Folders()
		if err == nil {
			w.config.Changed(entries)
		}
		w.config.Post(func() {
			switch {
			case errors.Is(err, context.Canceled):
				w.finish("Stopped")
				return
			case err != nil:
				w.finish("")
				w.tell(err)
				return
			}
			w.finish(dataset.Count(len(entries), "model") + " on this machine")
			w.form.setFolders(folders)
			w.take(entries, problems)
		})
	})
}

// take shows other entries.
func (w *Workspace) take(entries []modelstore.Entry, problems []modelstore.Problem) {
	w.entries, w.problems = entries, problems
	w.form.count(entries)
	w.form.setProblems(problems)
	w.search()
	w.checkOffers()
	w.hashes.failed = map[string]bool{} // it may be readable now
	w.hashNext()
}

// search shows what the form picks.
func (w *Workspace) search() {
	chosen := ""
	if e, ok := w.chosen(); ok {
		chosen = e.Path
	}
	q := w.form.query()
	w.shown = modelstore.Search(w.entries, q)
	w.listEntries(chosen)
	w.searchOffers(q)
}

func (w *Workspace) chosen() (modelstore.Entry, bool) {
	if i := w.stage.entries.Selected(); i >= 0 && i < len(w.shown) {
		return w.shown[i], true
	}
	return modelstore.Entry{}, false
}

func (w *Workspace) listEntries(chosen string) {
	rows, at := make([]kit.Item, len(w.shown)), -1
	for i, e := range w.shown {
		rows[i] = w.row(e)
		if e.Path == chosen {
			at = i
		}
	}
	w.stage.setEntries(rows, at, len(w.entries) > 0)
	if at >= 0 {
		w.showEntry(at)
	} else if w.stage.page == pageHere {
		w.details.clear(w.stage.page)
	}
}

// link adds a folder of another program.
func (w *Workspace) link() {
	home, _ := os.UserHomeDir()
	w.config.Browse(home, w.linkFolder)
}

func (w *Workspace) linkFolder(path string) {
	w.background(func() {
		_, err := w.config.Store.Link(path)
		folders := w.config.Store.Folders()
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			w.form.setFolders(folders)
			w.stage.open(pageHere)
			w.Scan()
		})
	})
}

// chooseOwn lets the person choose the studio's own folder, which imports and downloads go to.
func (w *Workspace) chooseOwn() { w.config.Browse(w.config.Store.Own(), w.setOwn) }

func (w *Workspace) setOwn(path string) {
	w.background(func() {
		err := w.config.Store.SetOwn(path)
		folders := w.config.Store.Folders()
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			w.form.setFolders(folders)
			w.Refresh()
		})
	})
}

func (w *Workspace) unlink(path string) {
	w.background(func() {
		err := w.config.Store.Unlink(path)
		folders, entries := w.config.Store.Folders(), w.config.Store.Entries()
		if err == nil {
			w.config.Changed(entries)
		}
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			w.form.setFolders(folders)
			w.take(entries, w.problems)
		})
	})
}

// Drop brings in files and folders that were dropped on the window, one after the other.
func (w *Workspace) Drop(paths []string) {
	if len(paths) == 0 {
		return
	}
	w.stage.open(pageHere)
	ctx := w.begin("Bringing in " + filepath.Base(paths[0]))
	if ctx == nil {
		return
	}
	var beat ticker
	w.background(func() {
		var last modelstore.Entry
		var failed error
		at := ""
		for _, path := range paths {
			at = path
			e, err := w.config.Store.Import(ctx, modelstore.Import{Path: path}, func(done, all int64) {
				beat.soon(func() {
					w.config.Post(func() {
						if w.work != nil && ctx.Err() == nil {
							w.stage.goes("Bringing in "+filepath.Base(path)+" · "+kit.Bytes(done)+" of "+kit.Bytes(all), share(done, all))
						}
					})
				})
			})
			if failed = err; err != nil {
				break
			}
			last = e
		}
		entries := w.config.Store.Entries()
		w.config.Changed(entries)
		info, statErr := os.Stat(at)
		w.config.Post(func() {
			switch {
			case errors.Is(failed, context.Canceled):
				w.finish("Stopped; nothing is left of what was being copied")
			case failed != nil && statErr == nil && info.IsDir():
				w.finish("")
				w.stage.tell(true, kit.Sentence(failed), "Link it", func() { w.stage.notice.Dismiss(); w.linkFolder(at) })
			case failed != nil:
				w.finish("")
				w.tell(failed)
			default:
				w.finish("Brought in " + last.Name)
			}
			w.take(entries, w.problems)
			w.choose(last.Path)
		})
	})
}

// choose selects the model of a path, where it is shown.
func (w *Workspace) choose(path string) {
	for i, e := range w.shown {
		if path != "" && e.Path == path {
			w.stage.entries.Select(i)
		}
	}
}

// use takes a model to the image workspace.
func (w *Workspace) use(e modelstore.Entry) {
	switch e.Kind {
	case modelstore.LoRA:
		words := "<lora:" + stem(e.Path) + ":1>"
		if len(e.Triggers) > 0 {
			words = e.Triggers[0] + " " + words
		}
		w.config.Use(studio.Use{Words: words})
	case modelstore.Embedding:
		w.config.Use(studio.Use{Words: stem(e.Path)})
	default:
		name, ok := w.config.Name(e.Path)
		if !ok {
			w.tell(errors.New(e.Name + " is not in the list of models yet; look through the folders again"))
			return
		}
		w.config.Use(studio.Use{Model: name})
	}
}

// remove deletes a model of the studio's own folder, once it was asked.
func (w *Workspace) remove(e modelstore.Entry) {
	w.config.Confirm("Delete "+e.Name+"?", e.Path+" and the files beside it that speak of it are deleted from the disk. This cannot be undone.", "Delete", func() {
		w.background(func() {
			_, err := w.config.Store.Remove(e.Path)
			entries := w.config.Store.Entries()
			w.config.Changed(entries)
			w.config.Post(func() {
				if err != nil {
					w.tell(err)
				}
				w.take(entries, w.problems)
			})
		})
	})
}

// open shows a folder or a page by the system's own means.
func (w *Workspace) open(target string) {
	go func() {
		if err := w.config.Open(target); err != nil {
			w.config.Post(func() { w.tell(err) })
		}
	}()
}

// tell shows what went wrong.
func (w *Workspace) tell(err error) { w.stage.tell(true, kit.Sentence(err), "", nil) }

// Escape stops or closes the nearest thing; it tells whether there was one.
func (w *Workspace) Escape() bool {
	switch {
	case w.work != nil:
		w.work()
	case w.stage.notice.Visible():
		w.stage.notice.Dismiss()
	default:
		return false
	}
	return true
}

// Repaint makes the small pictures again after a change of theme.
func (w *Workspace) Repaint() {
	w.thumbs = map[string]*thumb{}
	w.search()
}

// Find puts the caret into the search field.
func (w *Workspace) Find() { w.form.words.Focus() }

// TogglePanel shows or hides the details.
func (w *Workspace) TogglePanel() {
	hidden := !w.columns.RightHidden()
	w.columns.HideRight(hidden)
	w.stage.panel.Bright = !hidden
	w.stage.panel.Refresh()
	w.config.Settings.Update(func(s *settings.Settings) { s.Window.SessionHidden = hidden })
}

// Leave stops what goes on; Wait returns when it has.
func (w *Workspace) Leave() { w.end() }

// Wait returns when nothing goes on any more, or ctx ends; downloads are kept for the next time. It runs off the main thread.
func (w *Workspace) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.downloads.Close()
		w.busy.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("the model manager did not stop in time")
	}
}
