package train

import (
	"context"
	"errors"

	"atelier/app/training"
	"atelier/ui/kit"
)

// List reads the list of runs anew, off the main thread.
func (w *Workspace) List() {
	root := w.config.Trainer.TrainingFolder()
	go func() {
		all, err := training.List(root)
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			folder := ""
			if w.shown != nil {
				folder = w.shown.folder
			}
			w.runs.set(all, folder)
		})
	}()
}

// show puts a run on the training page.
func (w *Workspace) show(v *view) {
	w.shown = v
	w.stage.training.display(v)
	w.bar(v)
}

// showRun shows a run of the list: the one that goes on as it is, an earlier one from its folder.
func (w *Workspace) showRun(i training.Info) {
	w.stage.open(pageTraining)
	if w.live != nil && w.live.view.folder == i.Folder {
		w.show(w.live.view)
		return
	}
	if w.shown != nil && w.shown.folder == i.Folder {
		return
	}
	v := &view{folder: i.Folder, name: i.Name, kind: i.Kind}
	w.show(v)
	w.load(v, nil)
}

// load reads a run's log and outcome off the main thread; then comes on the main thread, where the run is still shown.
func (w *Workspace) load(v *view, then func()) {
	go func() {
		past, err := readRun(v.folder)
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			v.adopt(past)
			for _, s := range v.shots {
				w.loadShot(v, s)
			}
			if w.shown == v {
				w.show(v)
			}
			if then != nil {
				then()
			}
		})
	}()
}

// past is what a run's folder says.
type past struct {
	events  []training.Event
	outcome *training.Outcome
}

func readRun(folder string) (*past, error) {
	run, err := training.Reopen(folder)
	if err != nil {
		return nil, err
	}
	events, err := run.Events()
	if err != nil {
		return nil, err
	}
	p := &past{events: events}
	if o, err := run.Result(); err == nil {
		p.outcome = o
	}
	return p, nil
}

// adopt fills a view from a run's folder.
func (v *view) adopt(p *past) {
	for _, e := range p.events {
		v.hear(e)
	}
	v.state, v.warnings, v.busy = cancelled, nil, ""
	if len(p.events) == 0 {
		v.state = resting
	}
	if v.outcome = p.outcome; v.outcome != nil {
		v.state = finished
	}
}

// resume goes on with an earlier run.
func (w *Workspace) resume(i training.Info) {
	if w.live != nil {
		return
	}
	v := &view{folder: i.Folder, name: i.Name, kind: i.Kind}
	w.shown = v
	w.load(v, func() {
		if w.live == nil {
			w.sit(v, func() (*training.Run, error) { return training.Reopen(i.Folder) })
		}
	})
}

// again puts an earlier run's recipe into the form.
func (w *Workspace) again(i training.Info) {
	go func() {
		run, err := training.Reopen(i.Folder)
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			w.form.adopt(run.Recipe)
			w.stage.open(pageRecipe)
			if w.look == nil || w.look.path != run.Recipe.Data.Path {
				w.lookAnew()
			}
		})
	}()
}

// report opens a run's report page.
func (w *Workspace) report(i training.Info) {
	w.outcome(i, w.openReport)
}

// useRun takes what an earlier run made to the image workspace.
func (w *Workspace) useRun(i training.Info) {
	w.outcome(i, func(o *training.Outcome) { w.adopt(o) })
}

// outcome reads what a run came to, off the main thread.
func (w *Workspace) outcome(i training.Info, then func(*training.Outcome)) {
	go func() {
		run, err := training.Reopen(i.Folder)
		var o *training.Outcome
		if err == nil {
			o, err = run.Result()
		}
		w.config.Post(func() {
			if err != nil {
				w.tell(err)
				return
			}
			then(o)
		})
	}()
}

func (w *Workspace) openReport(o *training.Outcome) {
	if o == nil || o.Report == "" {
		w.tell(errors.New("this training has no report; it is written when a training has finished"))
		return
	}
	w.open(o.Report)
}

// open shows a folder or a page by the system's own means.
func (w *Workspace) open(path string) {
	go func() {
		if err := w.config.Open(path); err != nil {
			w.config.Post(func() { w.tell(err) })
		}
	}()
}

// use takes what the shown run made to the image workspace.
func (w *Workspace) use(v *view) {
	if v != nil && v.outcome != nil {
		w.adopt(v.outcome)
	}
}

func (w *Workspace) adopt(o *training.Outcome) {
	w.stage.status.Set("Making it available…", kit.Secondary)
	go func() {
		use, err := w.config.Trainer.Adopt(context.Background(), o)
		w.config.Post(func() {
			if w.shown != nil {
				w.bar(w.shown)
			}
			if err != nil {
				w.tell(err)
				return
			}
			w.config.Use(use)
		})
	}()
}
