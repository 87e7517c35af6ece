// Package audio plays short sounds on the system's sound device, without ever making the caller wait for it.
//
// Samples are float32 in [-1, 1], interleaved (left, right, left, …), at Rate samples a second and channel. The contract:
//
//	who                  calls                     may wait              what happens
//	any goroutine        New                       no                    nothing is opened
//	any, not main        Open                      at most 3 s           the first call opens the device, later ones say how it went
//	any goroutine        Play                      no                    samples are copied into the ring, behind what still plays
//	any goroutine        Stop                      no                    what still plays fades out within 5 ms, the rest is dropped
//	any, not main        Close                     at most 1 s           playing ends for good, the device is suspended
//	the device's thread  ring.Read                 for the ring's lock   copies from the ring; silence where the ring has nothing
//	one keeper           device.Suspend, Resume    for the device        awake while there is sound, suspended half a second after
//
// The ring's lock is held only while samples are copied. A suspended device takes no processor time.
//
// The driver allows one device in a process, and no second try: a Player whose Open has failed stays silent, and so does the
// second Player of a process. On Windows a machine without any sound device plays into nothing instead of failing.
package audio

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// Rate is in samples a second and channel; every sound has Channels channels.
const (
	Rate     = 48000
	Channels = 2
)

const (
	capacity     = 2 * Rate   // of the ring, in frames
	fadeFrames   = Rate / 200 // 5 ms
	tailFrames   = Rate / 2   // more than the driver and the device keep between the ring and the loudspeaker
	openPatience = 3 * time.Second
	stopPatience = time.Second
)

var (
	errClosed  = errors.New("audio: the player has been closed; make no sound after Close")
	errNotOpen = errors.New("audio: the sound device has not been opened; call Open first")
)

// DeviceError says that there is no usable sound device, or that it has gone. Error is one sentence for people, Err is the
// driver's own account.
type DeviceError struct{ Err error }

func (e *DeviceError) Error() string {
	return "no sound device can be used; connect one and start the program again"
}

func (e *DeviceError) Unwrap() error { return e.Err }

// device is an opened sound device that reads from a ring while it is not suspended.
type device interface {
	Suspend() error
	Resume() error
	Err() error // of the device since it was opened; never waits
}

// opener starts to open the device that will read from source; ready is closed when Err says how it went.
type opener func(source io.Reader) (dev device, ready <-chan struct{}, err error)

// Player plays sounds one after another. Its methods may be called from any goroutine.
type Player struct {
	open     opener
	patience time.Duration
	ring     *ring

	start   sync.Once
	closing sync.Once
	opened  chan struct{} // closed when dev and failure are final
	wake    chan struct{} // holds one token while there is something new to play
	quit    chan struct{} // closed by Close
	done    chan struct{} // closed when the device is suspended for good
	dev     device
	failure error
}

// New makes a player; the device is opened by Open.
func New() *Player { return newPlayer(openDevice, openPatience) }

func newPlayer(open opener, patience time.Duration) *Player {
	return &Player{
		open: open, patience: patience, ring: newRing(capacity, tailFrames),
		opened: make(chan struct{}), wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// Open opens the device at the first call and says whether sounds can be played. A device that does not answer in time may still
// be there at the next call; one that could not be opened (*DeviceError) is not tried again.
func (p *Player) Open() error {
	if p.closed() {
		return errClosed
	}
	p.start.Do(func() { go p.keep() })
	patience := time.NewTimer(p.patience)
	defer patience.Stop()
	select {
	case <-p.opened:
		return p.failure
	case <-p.quit:
		return errClosed
	case <-patience.C:
		return fmt.Errorf("the sound device did not answer within %v; check the system's sound settings and try again", p.patience)
	}
}

// Play queues interleaved samples behind what still plays and returns at once. Samples beyond ±1 are clipped, and what is not a
// number is silence. A sound that does not fit into the two seconds of the ring is refused whole.
func (p *Player) Play(samples []float32) error {
	if p.closed() {
		return errClosed
	}
	select {
	case <-p.opened:
	default:
		return errNotOpen
	}
	if p.failure != nil {
		return p.failure
	}
	if err := p.dev.Err(); err != nil {
		return &DeviceError{Err: err}
	}
	if len(samples)%Channels != 0 {
		return fmt.Errorf("audio: %d samples are not whole frames; give left and right in turn", len(samples))
	}
	if !p.ring.push(samples) {
		return fmt.Errorf("audio: a sound of %.1f s does not fit beside what still plays; play at most %.0f s at a time",
			float64(len(samples)/Channels)/Rate, float64(capacity)/Rate)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// Stop lets what plays fade out at once.
func (p *Player) Stop() { p.ring.fade(fadeFrames) }

// Close ends playing for good. It may be called twice.
func (p *Player) Close() error {
	p.closing.Do(func() { close(p.quit) })
	p.start.Do(func() { // never opened: nothing to suspend
		p.failure = errClosed
		close(p.opened)
		close(p.done)
	})
	p.ring.fade(0)
	select {
	case <-p.opened:
	default:
		return nil // still opening: keep will find quit closed
	}
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-p.done:
		return nil
	case <-patience.C:
		return errors.New("audio: the sound device did not stop in time; it was left behind")
	}
}

func (p *Player) closed() bool {
	select {
	case <-p.quit:
		return true
	default:
		return false
	}
}

// keep opens the device, and from then on is the only one that suspends and resumes it, because that may wait.
func (p *Player) keep() {
	defer close(p.done)
	dev, ready, err := p.open(p.ring)
	if err == nil {
		<-ready
		err = dev.Err()
	}
	if err == nil {
		err = dev.Suspend() // nothing plays yet
	}
	if err != nil {
		p.failure = &DeviceError{Err: err}
		close(p.opened)
		return
	}
	p.dev = dev
	close(p.opened)
	for {
		// A device that fails here says so in Err, which Play asks.
		select {
		case <-p.wake:
			_ = dev.Resume()
		case <-p.ring.drained:
			if p.ring.quiet() {
				_ = dev.Suspend() // a Play that came meanwhile has left a token in wake
			}
		case <-p.quit:
			_ = dev.Suspend()
			return
		}
	}
}

// playable is a sample as the device may get it.
func playable(v float32) float32 {
	if math.IsNaN(float64(v)) {
		return 0
	}
	return max(-1, min(1, v))
}
