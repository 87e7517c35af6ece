// Package report writes what training and judging found out: as one HTML page that needs no other file, and as Markdown for a model
// card.
package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"strings"

	"atelier/app/dataset"
	"atelier/app/library"
)

// Page is a report.
type Page struct {
	Title    string
	Intro    string
	Sections []Section
}

// Section is a part of a report under a title; its pieces come in the order of the fields.
type Section struct {
	Title  string
	Text   []string // paragraphs
	List   []string
	Tables []Table
	Charts []Chart
	Sheets []Sheet
}

// Table has a row of heads and rows of as many cells; shorter rows are filled up.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]string
}

// Sheet is pictures in rows and columns, such as before and after.
type Sheet struct {
	Caption string
	Columns []string // heads; may be empty
	Rows    []SheetRow
}

// SheetRow is a row of a sheet. A picture may be nil.
type SheetRow struct {
	Label    string
	Pictures []image.Image
}

//go:embed page.html
var pageSource string

// HTML is the page: one file, with style, curves and pictures inside it.
func (p *Page) HTML() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{"curve": func(c Chart) template.HTML { return c.svg() }, "picture": dataURI, "cells": cells}).Parse(pageSource)
	if err != nil {
		return nil, fmt.Errorf("the report's page: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("the report cannot be written: %w", err)
	}
	return b.Bytes(), nil
}

// Write puts the page into a file, whole or not at all. The error is a *library.SaveError where the disk is at fault.
func (p *Page) Write(path string) error {
	data, err := p.HTML()
	if err != nil {
		return err
	}
	return library.WriteFile(path, data)
}

// dataURI is a picture as part of a page.
func dataURI(m image.Image) (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return "", fmt.Errorf("a picture cannot be encoded: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// cells is a row with exactly n cells.
func cells(row []string, n int) []string {
	return append(append([]string(nil), row[:min(len(row), n)]...), make([]string, max(n-len(row), 0))...)
}

// Markdown is the page for a model card: words, lists, tables, and of each curve its first, lowest and last value. level is that of the
// title's head, 1 to 5; sections have the next. Pictures are in the page alone.
func (p *Page) Markdown(level int) string {
	var b strings.Builder
	head := strings.Repeat("#", min(max(level, 1), 5))
	fmt.Fprintf(&b, "%s %s\n\n", head, dataset.EscapeMarkdown(p.Title))
	if p.Intro != "" {
		fmt.Fprintf(&b, "%s\n\n", dataset.EscapeMarkdown(p.Intro))
	}
	for _, s := range p.Sections {
		fmt.Fprintf(&b, "%s# %s\n\n", head, dataset.EscapeMarkdown(s.Title))
		s.markdown(&b)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (s *Section) markdown(b *strings.Builder) {
	for _, t := range s.Text {
		fmt.Fprintf(b, "%s\n\n", dataset.EscapeMarkdown(t))
	}
	for _, l := range s.List {
		fmt.Fprintf(b, "- %s\n", dataset.EscapeMarkdown(l))
	}
	if len(s.List) > 0 {
		b.WriteString("\n")
	}
	for _, t := range s.Tables {
		t.markdown(b)
	}
	for _, c := range s.Charts {
		t := c.table()
		t.markdown(b)
	}
}

func (t *Table) markdown(b *strings.Builder) {
	if len(t.Head) == 0 {
		return
	}
	if t.Caption != "" {
		fmt.Fprintf(b, "%s:\n\n", dataset.EscapeMarkdown(t.Caption))
	}
	line := func(row []string) {
		for _, c := range cells(row, len(t.Head)) {
			b.WriteString("| " + dataset.EscapeMarkdown(c) + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Head)
	b.WriteString(strings.Repeat("|---", len(t.Head)) + "|\n")
	for _, r := range t.Rows {
		line(r)
	}
	b.WriteString("\n")
}

// BeforeAfter is a sheet of pairs, such as pictures and their reconstructions, or samples of two models from the same seeds. Of lists of
// different lengths the shorter counts; labels may be nil.
func BeforeAfter(caption string, columns [2]string, labels []string, before, after []image.Image) Sheet {
	s := Sheet{Caption: caption, Columns: columns[:]}
	for i := range min(len(before), len(after)) {
		row := SheetRow{Pictures: []image.Image{before[i], after[i]}}
		if i < len(labels) {
			row.Label = labels[i]
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}
