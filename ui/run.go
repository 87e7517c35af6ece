// Package ui is the studio's window.
package ui

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"

	"atelier/app/job"
	"atelier/app/library"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/assets/icon"
	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// The contract with the engine, under this package's name.
type (
	// Studio is the engine as the window sees it.
	Studio = studio.Studio
	// Named is a choice with an id and a label.
	Named = studio.Named
	// ControlNet is a network that makes a picture follow another one.
	ControlNet = studio.ControlNet
	// DeviceStatus says what runs the models.
	DeviceStatus = studio.DeviceStatus
	// Use says how something is used in the image workspace.
	Use = studio.Use
)

// EventWaiting is an event of a training that lets another job have the device.
const EventWaiting = studio.EventWaiting

// AppID names the program to the system.
const AppID = "studio.atelier.desktop"

// patience is how long quitting waits for a running job, and again for Close.
const patience = 6 * time.Second

// Options is what Run needs. Studio, Trainer, Models, Settings and Library must be set.
type Options struct {
	Studio   Studio
	Trainer  studio.Trainer
	Models   *modelstore.Store
	Settings *settings.Store // Run closes it
	Library  *library.Library
	Version  string // as written into files: "Atelier 0.1.0"
	// ModelsProblem says why the person's own list of model folders is not in use; nil where it is.
	ModelsProblem error
	// Close frees the engine when the window is gone and no job runs any more, before the toolkit ends GLFW. It is called once,
	// off the main thread.
	Close func()
	// Chime plays the sound for the end of a long wait; its error is one clause. It may take seconds and is called off the main
	// thread. Nil takes the setting for it off the page.
	Chime func() error
	// Heartbeat, if set, hears every 10 ms how long the main thread let a function wait. It is called off the main thread.
	Heartbeat func(time.Duration)
	// Log takes what is meant for developers, such as the stack of a job that panicked; nil drops it.
	Log func(string)
}

// Run shows the window and returns when it has been closed. It must be called on the main thread, once in a process.
func Run(options Options) {
	a := app.NewWithID(AppID)
	a.SetIcon(fyne.NewStaticResource("atelier.png", icon.PNG))
	a.Settings().SetTheme(kit.NewTheme(options.Settings.Get().Theme))
	calmDown(a)
	s := newShell(a, options, fyne.Do)
	s.window.ShowAndRun()
}

// keeper saves every picture of a result; it runs on the job's goroutine.
func keeper(o Options, meta func(*pipeline.Result, int) library.Meta) func(*pipeline.Result) []job.Kept {
	return func(r *pipeline.Result) []job.Kept {
		kept := make([]job.Kept, len(r.Images))
		for i, img := range r.Images {
			path, err := o.Library.Save(img, meta(r, i))
			kept[i] = job.Kept{Path: path, Err: err}
		}
		return kept
	}
}

// metaOf describes a finished picture with the labels that people know.
func metaOf(o Options) func(*pipeline.Result, int) library.Meta {
	labels := library.Labels{
		Sampler:  func(id string) string { return studio.Label(o.Studio.Samplers(), id) },
		Schedule: func(id string) string { return studio.Label(o.Studio.Schedules(), id) },
	}
	return func(r *pipeline.Result, i int) library.Meta { return library.MetaOf(r, i, labels, o.Version) }
}

// askToLeave leaves, unless pictures would be lost: then it says so, and leaves when asked again.
func (s *shell) askToLeave() {
	n := s.image.Unsaved()
	if n <= s.warned {
		s.leave()
		return
	}
	s.warned = n
	s.open(0)
	text := "One picture of this session is not saved and would be lost."
	if n > 1 {
		text = fmt.Sprintf("%d pictures of this session are not saved and would be lost.", n)
	}
	s.image.Warn(text, "Leave without saving", s.leave)
}

// leave is the one way out: cancel jobs, wait for them off the main thread, free the engine, then end the toolkit.
func (s *shell) leave() {
	if s.leaving {
		return
	}
	s.leaving = true
	s.image.Leave()
	s.train.Leave()
	s.models.Leave()
	size := s.window.Canvas().Size()
	s.options.Settings.Update(func(c *settings.Settings) { c.Window.Width, c.Window.Height = size.Width, size.Height })
	s.window.Hide()
	close(s.stop)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := s.queue.Close(ctx); err != nil && s.options.Log != nil {
			s.options.Log(err.Error())
		}
		if err := s.train.Wait(ctx); err != nil && s.options.Log != nil {
			s.options.Log(err.Error())
		}
		if err := s.models.Wait(ctx); err != nil && s.options.Log != nil {
			s.options.Log(err.Error())
		}
		cancel()
		if err := s.options.Settings.Close(); err != nil && s.options.Log != nil {
			s.options.Log(err.Error())
		}
		if s.options.Close != nil {
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				s.options.Close()
			}()
			select {
			case <-closed:
			case <-time.After(patience):
			}
		}
		s.post(s.app.Quit)
	}()
}

// obeySignals lets an interrupt or a polite kill leave in order. The toolkit installs a handler of its own that would end GLFW
// under a running engine; it is taken out first.
func (s *shell) obeySignals() {
	const installed = 300 * time.Millisecond // after its loop began to turn, the toolkit's handler is in place well before
	turning := make(chan struct{})
	s.post(func() { close(turning) })
	select {
	case <-turning:
	case <-s.stop:
		return
	}
	select {
	case <-time.After(installed):
	case <-s.stop:
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	select {
	case <-signals:
		s.post(func() {
			for _, path := range s.image.Rescue() {
				if s.options.Log != nil {
					s.options.Log("a picture that was not saved is kept as " + path)
				}
			}
			s.leave()
		})
	case <-s.stop:
	}
}

// beat measures how long the main thread lets a function wait.
func (s *shell) beat(hear func(time.Duration)) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		asked, answered := time.Now(), make(chan time.Duration, 1)
		s.post(func() { answered <- time.Since(asked) })
		select {
		case d := <-answered:
			hear(d)
		case <-s.stop:
			return
		}
	}
}
