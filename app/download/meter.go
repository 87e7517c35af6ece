package download

import "time"

// meter measures the speed of the last few seconds.
type meter struct {
	slots [window]int64 // bytes of each of the latest slots, by number modulo window
	now   int64         // number of the slot in progress
	begin time.Time
}

const (
	window = 20
	slot   = time.Second / 4
)

func (m *meter) advance() {
	if m.begin.IsZero() {
		m.begin = time.Now()
	}
	for n := int64(time.Since(m.begin) / slot); m.now < n; {
		m.now = max(m.now+1, n-window)
		m.slots[m.now%window] = 0
	}
}

func (m *meter) add(bytes int64) {
	m.advance()
	m.slots[m.now%window] += bytes
}

// speed is bytes a second; 0 in the first moments.
func (m *meter) speed() float64 {
	m.advance()
	span := min(time.Since(m.begin), window*slot-slot+time.Since(m.begin)%slot)
	if span < slot {
		return 0
	}
	sum := int64(0)
	for _, n := range m.slots {
		sum += n
	}
	return float64(sum) / span.Seconds()
}
