package training

import (
	"fmt"
	"strings"

	"atelier/app/dataset"
	"atelier/app/report"
)

// card is the model card of what was made: data and licences, recipe, figures, and what it cannot do.
func (s *stage) card(o *Outcome, evaluation *report.Evaluation) string {
	r := &s.run.Recipe
	var b strings.Builder
	fmt.Fprintf(&b, "# Model card: %s\n\n", dataset.EscapeMarkdown(r.Name))
	if r.Description != "" {
		fmt.Fprintf(&b, "%s\n\n", dataset.EscapeMarkdown(r.Description))
	}
	fmt.Fprintf(&b, "%s.\n\n", s.whatItIs())
	given := func(key, value string) {
		if value == "" {
			value = "not stated"
		}
		fmt.Fprintf(&b, "- %s: %s\n", key, dataset.EscapeMarkdown(value))
	}
	given("Author", r.Author)
	given("Licence", r.Licence)
	if r.Base != "" {
		given("Trained from", r.Base)
	}
	given("Made with", "Atelier's own trainer, on "+o.Device)
	given("Date", o.Finished.UTC().Format("2006-01-02"))
	b.WriteString("\n## Data and licences\n\n")
	given("Licence of the pictures", r.Data.Licence)
	fmt.Fprintf(&b, "- %d pictures are trained on and %d set aside for validation, at %d × %d pixels.\n", o.Pictures, o.Held, o.Width, o.Height)
	if s.report != nil {
		skipped := 0
		for _, f := range s.report.Findings {
			if f.Skipped {
				skipped++
			}
		}
		fmt.Fprintf(&b, "- %d files were left out as copies or unreadable; %d other findings.\n", skipped, len(s.report.Findings)-skipped)
	}
	if r.Data.Trigger != "" {
		fmt.Fprintf(&b, "- Words that call it: `%s`\n", strings.ReplaceAll(r.Data.Trigger, "`", "'"))
	}
	figures := report.Section{Title: "Figures", Tables: []report.Table{figuresTable(o)}}
	if len(o.Folds) > 0 {
		figures.Tables = append(figures.Tables, foldsTable(o))
	}
	b.WriteString("\n" + sections(figures))
	if evaluation != nil {
		b.WriteString(sections(evaluation.Section()))
	}
	if s.report != nil {
		b.WriteString("## What the data over- and under-represent\n\n" + s.report.Balance.Markdown() + "\n")
	}
	b.WriteString("## Limits\n\n")
	for _, l := range s.limits(o) {
		fmt.Fprintf(&b, "- %s\n", l)
	}
	fmt.Fprintf(&b, "\n## Recipe\n\n```toml\n%s```\n", r.Text())
	return b.String()
}

// sections are parts of a report as parts of a card.
func sections(s report.Section) string {
	page := report.Page{Sections: []report.Section{s}}
	_, text, _ := strings.Cut(page.Markdown(1), "\n\n") // without the page's own head
	return text + "\n"
}

// whatItIs is a sentence, without its full stop.
func (s *stage) whatItIs() string {
	r := &s.run.Recipe
	switch r.Kind {
	case "lora":
		return fmt.Sprintf("A LoRA of rank %d and alpha %v for the model %s, in the key layout of kohya's scripts", r.LoRA.Rank, r.LoRA.Alpha, dataset.EscapeMarkdown(r.Base))
	case "textual_inversion":
		return fmt.Sprintf("A textual inversion for the model %s: the word `%s`", dataset.EscapeMarkdown(r.Base), r.Inversion.Token)
	case "autoencoder":
		return "A KL autoencoder in the layout of diffusers"
	case "gan":
		return "A style-based GAN generator of small pictures"
	case "conditional_vae":
		return "A conditional variational autoencoder of small pictures"
	case "flow":
		return "A normalising flow (Glow) of small pictures"
	}
	return fmt.Sprintf("A latent %s model in the layout of diffusers", map[bool]string{true: "rectified flow", false: "diffusion"}[r.Kind == "rectified_flow"])
}

// smallSet is a number of pictures under which memorising is likely.
const smallSet = 200

// limits are sentences on what a user should expect.
func (s *stage) limits(o *Outcome) []string {
	var out []string
	if o.Pictures < smallSet && s.kind.captions {
		out = append(out, fmt.Sprintf("It has seen %d pictures only and may repeat them; compare what it makes with the data before publishing.", o.Pictures))
	}
	if s.held == nil {
		out = append(out, "No pictures were set aside, so nothing is known about how well it does on others.")
	} else if o.BestStep > 0 && o.Validation >= o.Before {
		out = append(out, "On pictures that were set aside it does no better than before training.")
	}
	if s.run.Recipe.Base != "" {
		out = append(out, "It has the limits of the model that it was trained from, and its licence applies as well.")
	}
	return append(out, "It over-represents what its data over-represent, as listed above.")
}
