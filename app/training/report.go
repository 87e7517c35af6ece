package training

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

// Files of the report.
const (
	reportText, reportPage, curvesFile = "report.md", "report.html", "curves.svg"
)

// writeReport writes the report page with its curves, as text and as a page for the browser, and gives the page's path.
func (s *stage) writeReport(o *Outcome) (string, error) {
	events, err := ReadLog(filepath.Join(s.dir, logName))
	if err != nil {
		return "", err
	}
	if err := writeText(filepath.Join(s.dir, curvesFile), curves(events)); err != nil {
		return "", err
	}
	text := s.reportMarkdown(o, events)
	if err := writeText(filepath.Join(s.dir, reportText), text); err != nil {
		return "", err
	}
	var body bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.Table)).Convert([]byte(text), &body); err != nil {
		return "", err
	}
	page := filepath.Join(s.dir, reportPage)
	return page, writeText(page, fmt.Sprintf(pageFrame, html.EscapeString(o.Name), body.String()))
}

// pageFrame is the page round the report; it needs nothing from elsewhere.
const pageFrame = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%s</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse } td, th { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top }
img { max-width: 100%% } td img { width: 10rem; image-rendering: auto; background: repeating-conic-gradient(#ddd 0 25%%, #fff 0 50%%) 0 0/1rem 1rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } td, th { border-color: #444 } }
</style></head><body>
%s</body></html>
`

// reportMarkdown is all that is known of a finished run.
func (s *stage) reportMarkdown(o *Outcome, events []Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", plainText(o.Name))
	fmt.Fprintf(&b, "A %s, trained for %s on %s. What was made: `%s`.\n\n", strings.ReplaceAll(o.Kind, "_", " "), span(o.Seconds), o.Device, filepath.Base(o.Product))
	b.WriteString("## Loss\n\n![Loss over the steps](" + curvesFile + ")\n\n")
	b.WriteString(figuresTable(o))
	b.WriteString(s.samplesTable(events))
	b.WriteString(foldsTable(o))
	b.WriteString(s.findingsTable())
	if s.report != nil {
		b.WriteString("## Balance of the pictures\n\n" + s.report.Balance.Markdown() + "\n")
	}
	fmt.Fprintf(&b, "## Recipe\n\n```toml\n%s```\n", s.run.Recipe.Text())
	return b.String()
}

func span(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// figuresTable lists what was measured.
func figuresTable(o *Outcome) string {
	var b strings.Builder
	b.WriteString("| figure | value | |\n|---|---:|---|\n")
	row := func(name, value, note string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", name, value, note) }
	row("steps", fmt.Sprint(o.Steps), fmt.Sprintf("of %d planned, %d epochs", o.Planned, o.Epochs))
	row("loss", number6(o.Loss), fmt.Sprintf("mean of the last tenth; %s at the first step", number6(o.First)))
	if o.BestStep > 0 {
		note := fmt.Sprintf("step %d; %s before training", o.BestStep, number6(o.Before))
		if o.Early {
			note += "; stopped early, since it rose no more"
		}
		row("best validation loss", number6(o.Validation), note)
	}
	if len(o.Folds) > 0 {
		row("validation loss of the folds", fmt.Sprintf("%s ± %s", number6(o.Mean), number6(o.Deviation)), fmt.Sprintf("mean and standard deviation of %d", len(o.Folds)))
	}
	for _, f := range o.Figures {
		row(f.Name, strings.TrimSpace(number6(f.Value)+" "+f.Unit), f.Note)
	}
	row("trained parameters", fmt.Sprint(o.Parameters), "")
	row("pictures", fmt.Sprint(o.Pictures), fmt.Sprintf("and %d for validation, at %d × %d", o.Held, o.Width, o.Height))
	row("speed", number6(o.Speed)+" pictures/s", "in steps")
	row("device memory", fmt.Sprintf("%d MB", o.Peak>>20), "at the most")
	return b.String() + "\n"
}

func number6(v float64) string { return fmt.Sprintf("%.4g", v) }

// samplesTable puts the first samples beside those of the product.
func (s *stage) samplesTable(events []Event) string {
	var first, last []Event
	for _, e := range events {
		switch {
		case e.What != EventSample:
		case strings.HasPrefix(filepath.Base(e.Path), finalShots):
			last = append(last, e)
		case e.Step == 0:
			first = append(first, e)
		}
	}
	if len(last) == 0 {
		return ""
	}
	last = last[max(len(last)-len(first), 0):] // an earlier finish may have left some
	var b strings.Builder
	b.WriteString("## Samples before and after\n\n| | before | after |\n|---|---|---|\n")
	for i, e := range last {
		before := ""
		if i < len(first) {
			before = fmt.Sprintf("![before](%s)", first[i].Path)
		}
		fmt.Fprintf(&b, "| %s | %s | ![after](%s) |\n", plainText(e.Message), before, e.Path)
	}
	return b.String() + "\n"
}

func foldsTable(o *Outcome) string {
	if len(o.Folds) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("## Cross-validation\n\n| fold | best validation loss | at step | of | pictures | validation |\n|---:|---:|---:|---:|---:|---:|\n")
	for i, f := range o.Folds {
		fmt.Fprintf(&b, "| %d | %s | %d | %d | %d | %d |\n", i+1, number6(f.Validation), f.BestStep, f.Steps, f.Pictures, f.Held)
	}
	return b.String() + "\n"
}

// mostFindings is how many the report lists; data.json has all.
const mostFindings = 50

func (s *stage) findingsTable() string {
	if s.report == nil || len(s.report.Findings) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("## What was found in the pictures\n\n| file | kind | what | what to do |\n|---|---|---|---|\n")
	list := s.report.Findings
	for _, f := range list[:min(len(list), mostFindings)] {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", plainText(f.File), f.Kind, plainText(f.What), plainText(f.Do))
	}
	if more := len(list) - mostFindings; more > 0 {
		fmt.Fprintf(&b, "\n%d more are in `%s`.\n", more, dataFile)
	}
	return b.String() + "\n"
}

// plainText keeps words of the data from becoming marks or HTML, or from ending a table's cell.
func plainText(s string) string {
	r := strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "[", `\[`, "]", `\]`, "|", `\|`, "\n", " ", "\r", " ", "#", `\#`, "!", `\!`)
	return r.Replace(s)
}

// The curves' drawing area.
const (
	curvesWidth, curvesHeight, curvesMargin = 720.0, 300.0, 48.0
	mostPoints                              = 400
)

// curves draws the losses over the steps: that of training smoothed, since single batches say little.
func curves(events []Event) string {
	type point struct{ x, y float64 }
	var steps, smooth, validation []point
	mean := 0.0
	for _, e := range events {
		switch e.What {
		case EventStep:
			if len(smooth) == 0 {
				mean = e.Loss
			}
			mean += (e.Loss - mean) * math.Max(0.05, 1/float64(len(smooth)+1))
			steps = append(steps, point{float64(e.Step), e.Loss})
			smooth = append(smooth, point{float64(e.Step), mean})
		case EventValidation:
			validation = append(validation, point{float64(e.Step), e.Validation})
		}
	}
	all := slices.Concat(smooth, validation)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="#fff"/>`, curvesWidth, curvesHeight)
	if len(all) == 0 {
		return b.String() + "</svg>\n"
	}
	last, low, high := 1.0, math.Inf(1), math.Inf(-1)
	for _, p := range all {
		last, low, high = math.Max(last, p.x), math.Min(low, p.y), math.Max(high, p.y)
	}
	if high <= low {
		high = low + math.Max(math.Abs(low)*0.1, 1e-6)
	}
	x := func(v float64) float64 { return curvesMargin + v/last*(curvesWidth-2*curvesMargin) }
	y := func(v float64) float64 {
		return curvesHeight - curvesMargin - (math.Min(math.Max(v, low), high)-low)/(high-low)*(curvesHeight-2*curvesMargin)
	}
	for i := range 5 {
		v := low + (high-low)*float64(i)/4
		fmt.Fprintf(&b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end" fill="#555">%.3g</text>`,
			curvesMargin, curvesWidth-curvesMargin, y(v), y(v), curvesMargin-6, y(v)+4, v)
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle" fill="#555">%.0f</text>`, x(last*float64(i)/4), curvesHeight-curvesMargin+18, last*float64(i)/4)
	}
	draw := func(ps []point, colour, width string) {
		if len(ps) == 0 {
			return
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="%s" points="`, colour, width)
		every := (len(ps) + mostPoints - 1) / mostPoints
		for i, p := range ps {
			if i%every == 0 || i == len(ps)-1 {
				fmt.Fprintf(&b, "%.1f,%.1f ", x(p.x), y(p.y))
			}
		}
		b.WriteString(`"/>`)
	}
	draw(steps, "#b8d4ee", "1")
	draw(smooth, "#2166ac", "2")
	draw(validation, "#d6604d", "2")
	for i, l := range []struct{ text, colour string }{{"training", "#2166ac"}, {"validation", "#d6604d"}} {
		if i == 0 || len(validation) > 0 {
			fmt.Fprintf(&b, `<text x="%g" y="24" fill="%s">%s</text>`, curvesMargin+float64(i)*80, l.colour, l.text)
		}
	}
	return b.String() + "</svg>\n"
}
