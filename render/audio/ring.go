package audio

import (
	"encoding/binary"
	"math"
	"sync"
)

const frameBytes = Channels * 4 // float32, little endian

// ring is what is still to be played: a queue of fixed size between those who play and the device's thread.
type ring struct {
	tail    int           // frames of silence after which the last sample has surely been heard
	drained chan struct{} // holds one token when tail frames of silence have been read

	mu     sync.Mutex
	buf    []float32 // interleaved; the oldest sample is at start
	start  int
	length int // samples queued
	silent int // frames of silence read since the last sample
}

func newRing(frames, tail int) *ring {
	return &ring{buf: make([]float32, frames*Channels), tail: tail, drained: make(chan struct{}, 1)}
}

// push queues all samples, whole frames, or none where there is no room for all.
func (r *ring) push(samples []float32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(samples) > len(r.buf)-r.length {
		return false
	}
	at := (r.start + r.length) % len(r.buf)
	for _, v := range samples {
		r.buf[at] = playable(v)
		if at++; at == len(r.buf) {
			at = 0
		}
	}
	r.length += len(samples)
	return true
}

// fade drops all but the next frames, and lets those fall to silence in a straight line, since a sound cut short clicks.
func (r *ring) fade(frames int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	frames = min(frames, r.length/Channels)
	r.length = frames * Channels
	for i := range r.length {
		r.buf[(r.start+i)%len(r.buf)] *= 1 - float32(i/Channels+1)/float32(frames)
	}
}

// quiet tells whether nothing is queued and the last sample has surely been heard.
func (r *ring) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.length == 0 && r.silent >= r.tail
}

// Read implements io.Reader for the device. It always fills p, as far as whole frames go: with silence where nothing is queued.
func (r *ring) Read(p []byte) (int, error) {
	p = p[:len(p)/frameBytes*frameBytes]
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(p)/4, r.length)
	for i := range n {
		binary.LittleEndian.PutUint32(p[4*i:], math.Float32bits(r.buf[r.start]))
		if r.start++; r.start == len(r.buf) {
			r.start = 0
		}
	}
	r.length -= n
	clear(p[4*n:])
	if n > 0 {
		r.silent = 0
	}
	r.silent += len(p)/frameBytes - n/Channels
	if r.silent >= r.tail {
		r.silent = r.tail // it only matters that it is enough
		select {
		case r.drained <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}
