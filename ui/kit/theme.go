// Package kit is the studio's look and feel: colours, type, and the few controls that every workspace is built from.
package kit

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// Colours by their role. They resolve through the theme, so that a change of theme reaches every widget.
const (
	Canvas    fyne.ThemeColorName = "atelier.canvas"    // behind pictures
	Panel     fyne.ThemeColorName = "atelier.panel"     // columns and bars
	Raised    fyne.ThemeColorName = "atelier.raised"    // fields and buttons
	Lifted    fyne.ThemeColorName = "atelier.lifted"    // under the pointer
	Line      fyne.ThemeColorName = "atelier.line"      // borders and dividers
	Text      fyne.ThemeColorName = "atelier.text"      //
	Secondary fyne.ThemeColorName = "atelier.secondary" // labels, hints
	Accent    fyne.ThemeColorName = "atelier.accent"    // fills: progress, the one main button
	AccentInk fyne.ThemeColorName = "atelier.accentink" // lines and text in the accent, legible on panels
	OnAccent  fyne.ThemeColorName = "atelier.onaccent"  // text on the accent
	Loss      fyne.ThemeColorName = "atelier.loss"      // errors and what destroys
	Healthy   fyne.ThemeColorName = "atelier.healthy"
	CheckerA  fyne.ThemeColorName = "atelier.checkera"
	CheckerB  fyne.ThemeColorName = "atelier.checkerb"
)

// Text sizes in device-independent pixels.
const (
	Caption float32 = 12
	Body    float32 = 14
	Section float32 = 16
	Title   float32 = 20
)

// Spacing on a grid of four.
const (
	Tight float32 = 4
	Gap   float32 = 8
	Wide  float32 = 16
	// Height of a field or a button in a row.
	RowHeight float32 = 30
	// Radius of fields and buttons.
	Radius float32 = 4
)

type palette map[fyne.ThemeColorName]color.NRGBA

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 255}
}

var dark = palette{
	Canvas: rgb(0x1a1a1a), Panel: rgb(0x242424), Raised: rgb(0x2e2e2e), Lifted: rgb(0x383838), Line: rgb(0x3a3a3a),
	Text: rgb(0xe8e8e8), Secondary: rgb(0xa0a0a0), Accent: rgb(0xe2a33d), AccentInk: rgb(0xe2a33d), OnAccent: rgb(0x1a1a1a),
	Loss: rgb(0xf07167), Healthy: rgb(0x77c07b), CheckerA: rgb(0x8c8c8c), CheckerB: rgb(0x7a7a7a),
}

var light = palette{
	Canvas: rgb(0xe5e5e5), Panel: rgb(0xdbdbdb), Raised: rgb(0xe9e9e9), Lifted: rgb(0xf3f3f3), Line: rgb(0xc2c2c2),
	Text: rgb(0x171717), Secondary: rgb(0x555555), Accent: rgb(0xe2a33d), AccentInk: rgb(0x7d500a), OnAccent: rgb(0x1a1a1a),
	Loss: rgb(0xa3211a), Healthy: rgb(0x1f6b2c), CheckerA: rgb(0xffffff), CheckerB: rgb(0xd4d4d4),
}

// roles says which of our colours stands in for which of the toolkit's own names.
var roles = map[fyne.ThemeColorName]fyne.ThemeColorName{
	theme.ColorNameBackground: Panel, theme.ColorNameButton: Raised, theme.ColorNameDisabledButton: Panel,
	theme.ColorNameDisabled: Secondary, theme.ColorNamePlaceHolder: Secondary, theme.ColorNameForeground: Text,
	theme.ColorNameInputBackground: Raised, theme.ColorNameInputBorder: Line, theme.ColorNameSeparator: Line,
	theme.ColorNameMenuBackground: Raised, theme.ColorNameOverlayBackground: Panel, theme.ColorNameHeaderBackground: Panel,
	theme.ColorNameHover: Lifted, theme.ColorNamePressed: Line, theme.ColorNamePrimary: AccentInk,
	theme.ColorNameHyperlink: AccentInk, theme.ColorNameForegroundOnPrimary: OnAccent, theme.ColorNameError: Loss,
	theme.ColorNameSuccess: Healthy, theme.ColorNameWarning: AccentInk,
}

// Theme is the studio's look. The zero value follows the system's wish for light or dark.
type Theme struct {
	Fixed   bool // ignore the system
	Variant fyne.ThemeVariant
}

// NewTheme gives the theme for a name as the settings keep it: "dark", "light" or "system".
func NewTheme(name string) Theme {
	switch name {
	case "light":
		return Theme{Fixed: true, Variant: theme.VariantLight}
	case "system":
		return Theme{}
	}
	return Theme{Fixed: true, Variant: theme.VariantDark}
}

// Color implements fyne.Theme.
func (t Theme) Color(name fyne.ThemeColorName, v fyne.ThemeVariant) color.Color {
	if t.Fixed {
		v = t.Variant
	}
	p := dark
	if v == theme.VariantLight {
		p = light
	}
	if role, ok := roles[name]; ok {
		return p[role]
	}
	if c, ok := p[name]; ok {
		return c
	}
	switch name {
	case theme.ColorNameScrollBar:
		return faded(p[Secondary], 110)
	case theme.ColorNameScrollBarBackground:
		return color.Transparent
	case theme.ColorNameFocus:
		return faded(p[Accent], 60)
	case theme.ColorNameSelection:
		return faded(p[Accent], 80)
	case theme.ColorNameShadow:
		return color.NRGBA{A: 70}
	}
	return theme.DefaultTheme().Color(name, v)
}

func faded(c color.NRGBA, alpha uint8) color.NRGBA {
	c.A = alpha
	return c
}

// Font implements fyne.Theme.
func (t Theme) Font(style fyne.TextStyle) fyne.Resource { return theme.DefaultTheme().Font(style) }

// Icon implements fyne.Theme.
func (t Theme) Icon(name fyne.ThemeIconName) fyne.Resource { return theme.DefaultTheme().Icon(name) }

// Size implements fyne.Theme.
func (t Theme) Size(name fyne.ThemeSizeName) float32 {
	switch name {
	case theme.SizeNamePadding:
		return Tight
	case theme.SizeNameInnerPadding:
		return 6
	case theme.SizeNameText:
		return Body
	case theme.SizeNameCaptionText:
		return Caption
	case theme.SizeNameHeadingText:
		return Title
	case theme.SizeNameSubHeadingText:
		return Section
	case theme.SizeNameInputRadius, theme.SizeNameSelectionRadius:
		return Radius
	case theme.SizeNameInputBorder, theme.SizeNameSeparatorThickness:
		return 1
	case theme.SizeNameInlineIcon:
		return 18
	case theme.SizeNameScrollBar:
		return 8
	case theme.SizeNameScrollBarSmall:
		return 4
	case theme.SizeNameLineSpacing:
		return 4
	}
	return theme.DefaultTheme().Size(name)
}

// Colour is the value of a role in the current theme.
func Colour(name fyne.ThemeColorName) color.Color { return theme.Color(name) }

// Faint is a theme colour with an alpha.
func Faint(name fyne.ThemeColorName, alpha uint8) color.Color {
	c := RGBA(name)
	return color.NRGBA{c.R, c.G, c.B, alpha}
}

// RGBA is Colour for code that paints pixels.
func RGBA(name fyne.ThemeColorName) color.RGBA {
	return color.RGBAModel.Convert(theme.Color(name)).(color.RGBA)
}
