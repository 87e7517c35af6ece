package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"atelier/compute"
	"atelier/models/pipeline"
)

// progressBar draws a job's progress on a terminal, one line rewritten in place; anywhere else it stays silent.
type progressBar struct {
	out   *os.File
	mu    sync.Mutex
	shown bool
}

// newProgressBar gives a bar on standard error, or one that draws nothing where that is no terminal or quiet is set.
func newProgressBar(quiet bool) *progressBar {
	info, err := os.Stderr.Stat()
	if quiet || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progressBar{}
	}
	return &progressBar{out: os.Stderr}
}

func (b *progressBar) report(p pipeline.Progress) { b.write(progressLine(p)) }

// write shows a line in place of the last one. It may be called from several goroutines.
func (b *progressBar) write(line string) {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown = true
	fmt.Fprint(b.out, "\r\x1b[K"+line)
}

// done clears the line.
func (b *progressBar) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}

// progressLine is "denoise ████████░░░░ 12/20  1.4 s left".
func progressLine(p pipeline.Progress) string {
	line := fmt.Sprintf("%-8s", p.Phase)
	if p.Steps > 0 {
		line += fmt.Sprintf(" %s %d/%d", blocks(float64(p.Step)/float64(p.Steps)), p.Step, p.Steps)
	}
	if p.Left > 0 {
		line += "  " + roundTime(p.Left) + " left"
	}
	return line
}

// blocks draws a part of a whole.
func blocks(part float64) string {
	const width = 24
	n := int(width * min(max(part, 0), 1))
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}

// byteLine is "running  ████████░░░░ 1.2 GB of 4.3 GB, 12 MB/s  4 min left". All, the speed and the time may be 0 for unknown.
func byteLine(what string, done, all int64, speed float64, left time.Duration) string {
	line := fmt.Sprintf("%-8s ", what)
	if all > 0 {
		line += blocks(float64(done)/float64(all)) + " "
	}
	line += compute.FormatBytes(done)
	if all > 0 {
		line += " of " + compute.FormatBytes(all)
		if left == 0 && speed > 0 {
			left = time.Duration(float64(all-done) / speed * float64(time.Second))
		}
	}
	if speed > 0 {
		line += ", " + compute.FormatBytes(int64(speed)) + "/s"
	}
	if left > 0 {
		line += "  " + roundTime(left) + " left"
	}
	return line
}

// roundTime prints a duration as people say it: 0.4 s, 12 s, 3 min.
func roundTime(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 100:
		return fmt.Sprintf("%.0f s", s)
	default:
		return fmt.Sprintf("%.0f min", s/60)
	}
}
