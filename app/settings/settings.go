// Package settings keeps what a person chose between two starts of the studio: one small JSON file.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"atelier/app/disk"

	"github.com/adrg/xdg"
)

// Names of themes and devices as they stand in the file.
const (
	ThemeDark   = "dark"
	ThemeLight  = "light"
	ThemeSystem = "system"

	DeviceAuto   = "auto"
	DeviceOpenGL = "opengl"
	DeviceHost   = "host"
)

// Settings is the whole file. Sizes are device-independent pixels.
type Settings struct {
	OutputFolder  string     `json:"output_folder"` // empty: the default of package library
	Theme         string     `json:"theme"`
	Device        string     `json:"device"`
	SoundWhenDone bool       `json:"sound_when_done"`
	Window        Window     `json:"window"`
	Last          Parameters `json:"last"`
	History       []string   `json:"history,omitempty"` // prompts, newest last
}

// Window is how the window was left.
type Window struct {
	Width, Height   float32
	ParameterColumn float32 // width
	SessionColumn   float32 // width
	SessionHidden   bool
	NegativeOpen    bool
	MoreClosed      bool
	MaskClosed      bool
	NoiseOpen       bool
	ControlOpen     bool
}

// Parameters are the values of the image workspace as they were left. Zero means the model's own.
type Parameters struct {
	Model, Prompt, Negative string
	Width, Height, Steps    int
	CFG                     float64
	Sampler, Schedule       string
	Seed                    string // a number, or "-1" for a new one each time
	Batch                   int

	RNG, Spacing string
	Eta          string // a number, or empty for the sampler's own
	ZeroSNR      bool
	ClipSkip     int
	Rescale      float64 // of guidance

	Strength          float64 // of denoising, for pictures that begin from one
	MaskBlur, Padding int     // as in a request: −1 is none
	OnlyMasked        bool

	VAE      string // its path; empty for the model's own
	Controls [MostControls]Control
}

// MostControls is how many ControlNets a picture follows at once.
const MostControls = 4

// Control is a ControlNet and how much it counts. Its weight and parts of the steps are meant as they stand.
type Control struct {
	Model              string // its path; empty for none
	Weight, Start, End float64
}

// HistoryLimit is how many prompts are remembered.
const HistoryLimit = 100

// Defaults is what a new person gets.
func Defaults() Settings {
	return Settings{
		Theme:  ThemeDark,
		Device: DeviceAuto,
		Window: Window{Width: 1280, Height: 800, ParameterColumn: 300, SessionColumn: 240},
		Last:   Parameters{Seed: "-1"},
	}
}

// Path is where the settings live: atelier/settings.json in the user's configuration folder.
func Path() string { return filepath.Join(xdg.ConfigHome, "atelier", "settings.json") }

// Store holds the settings in memory and writes changes to the file in the background.
// Its methods may be called from any goroutine; only Close touches the disk before it returns.
type Store struct {
	path    string
	warning string

	mu      sync.Mutex
	current Settings
	dirty   bool
	closed  bool
	err     error         // of the last write
	wake    chan struct{} // holds one token while a write is due
	quit    chan struct{}
	done    chan struct{}
}

// settle is how long a store waits for further changes before it writes.
const settle = 500 * time.Millisecond

// Open reads the file. A missing file gives defaults; one that cannot be read or understood gives defaults, is kept aside as
// path.bak, and Warning says so.
func Open(path string) *Store {
	s := &Store{path: path, current: Defaults(), wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	data, err := os.ReadFile(path)
	if err == nil {
		loaded := Defaults()
		if err = json.Unmarshal(data, &loaded); err == nil {
			s.current = sane(loaded)
		} else if moveErr := os.Rename(path, path+".bak"); moveErr != nil {
			s.warning = fmt.Sprintf("The settings in %s could not be understood (%v), so the defaults are used.", path, err)
		} else {
			s.warning = fmt.Sprintf("The settings in %s could not be understood, so the defaults are used; the old file is now %s.bak.", path, path)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.warning = fmt.Sprintf("The settings in %s could not be read (%v), so the defaults are used.", path, plain(err))
	}
	go s.write()
	return s
}

// Warning is one sentence if Open had to fall back on defaults, and empty otherwise. It is given once.
func (s *Store) Warning() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.warning
	s.warning = ""
	return w
}

// Get returns the settings as they are now.
func (s *Store) Get() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.current
	out.History = append([]string(nil), s.current.History...)
	return out
}

// Update changes the settings; they reach the disk a moment later.
func (s *Store) Update(change func(*Settings)) {
	s.mu.Lock()
	change(&s.current)
	s.current = sane(s.current)
	s.dirty = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close writes what is still unwritten, and gives the error of the last write.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Store) write() {
	defer close(s.done)
	for {
		select {
		case <-s.wake:
		case <-s.quit:
			s.flush()
			return
		}
		select { // gather what else changes in the next moment
		case <-time.After(settle):
		case <-s.quit:
		}
		s.flush()
	}
}

func (s *Store) flush() {
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return
	}
	s.dirty = false
	data, err := json.MarshalIndent(s.current, "", "  ")
	s.mu.Unlock()
	if err == nil {
		err = disk.Replace(s.path, append(data, '\n'), 0o600)
	}
	if err != nil {
		err = fmt.Errorf("settings: could not write %s: %v; check the free space and the folder's permissions", s.path, plain(err))
	}
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
}

// plain drops the operation and path that fs errors repeat.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// sane puts values that a hand-edited file may carry back into their ranges.
func sane(s Settings) Settings {
	d := Defaults()
	if s.Theme != ThemeDark && s.Theme != ThemeLight && s.Theme != ThemeSystem {
		s.Theme = d.Theme
	}
	if s.Device != DeviceAuto && s.Device != DeviceOpenGL && s.Device != DeviceHost {
		s.Device = d.Device
	}
	s.Window.Width = within(s.Window.Width, 960, 16384, d.Window.Width)
	s.Window.Height = within(s.Window.Height, 600, 16384, d.Window.Height)
	s.Window.ParameterColumn = within(s.Window.ParameterColumn, 280, 420, d.Window.ParameterColumn)
	s.Window.SessionColumn = within(s.Window.SessionColumn, 228, 480, d.Window.SessionColumn)
	if s.Last.Seed == "" {
		s.Last.Seed = d.Last.Seed
	}
	if over := len(s.History) - HistoryLimit; over > 0 {
		s.History = append([]string(nil), s.History[over:]...)
	}
	return s
}

func within(v, lo, hi, otherwise float32) float32 {
	if math.IsNaN(float64(v)) || v <= 0 {
		return otherwise
	}
	return max(lo, min(hi, v))
}
