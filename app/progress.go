package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"atelier/models/pipeline"
)

// progressBar draws a job's progress on a terminal, one line rewritten in place; anywhere else it stays silent.
type progressBar struct {
	out   *os.File
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

func (b *progressBar) report(p pipeline.Progress) {
	if b.out == nil {
		return
	}
	b.shown = true
	fmt.Fprint(b.out, "\r\x1b[K"+progressLine(p))
}

// done clears the line.
func (b *progressBar) done() {
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

// progressLine is "denoise ████████░░░░ 12/20  1.4 s left".
func progressLine(p pipeline.Progress) string {
	const width = 24
	line := fmt.Sprintf("%-8s", p.Phase)
	if p.Steps > 0 {
		n := width * min(p.Step, p.Steps) / p.Steps
		line += fmt.Sprintf(" %s%s %d/%d", strings.Repeat("█", n), strings.Repeat("░", width-n), p.Step, p.Steps)
	}
	if p.Left > 0 {
		line += "  " + roundTime(p.Left) + " left"
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
