package kit

import (
	"fmt"
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
)

// Icon names one of the studio's own line drawings on a 24×24 grid.
type Icon string

// The drawings.
const (
	IconImage    Icon = `<rect x="3.5" y="4.5" width="17" height="15" rx="2"/><circle cx="8.8" cy="9.6" r="1.6"/><path d="M4 17l5-4.5 3.5 3 3.5-4 4.2 4.5"/>`
	IconSettings Icon = `<path d="M4 7h9M17 7h3M4 12h3M11 12h9M4 17h8M16 17h4"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="12" r="2"/><circle cx="14" cy="17" r="2"/>`
	IconDice     Icon = `<rect x="4" y="4" width="16" height="16" rx="3"/><circle cx="8.7" cy="8.7" r="0.8"/><circle cx="15.3" cy="8.7" r="0.8"/><circle cx="12" cy="12" r="0.8"/><circle cx="8.7" cy="15.3" r="0.8"/><circle cx="15.3" cy="15.3" r="0.8"/>`
	IconReuse    Icon = `<path d="M4.5 9.5h11a4.5 4.5 0 0 1 0 9H9"/><path d="M8 5.5l-4 4 4 4"/>`
	IconRight    Icon = `<path d="M9.5 6.5l5.5 5.5-5.5 5.5"/>`
	IconDown     Icon = `<path d="M6.5 9.5l5.5 5.5 5.5-5.5"/>`
	IconClose    Icon = `<path d="M6.5 6.5l11 11M17.5 6.5l-11 11"/>`
	IconFolder   Icon = `<path d="M3.5 7v10a2 2 0 0 0 2 2h13a2 2 0 0 0 2-2V9a2 2 0 0 0-2-2h-7l-2-2h-4a2 2 0 0 0-2 2z"/>`
	IconArchive  Icon = `<path d="M4 8.5h16v10a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 18.5zM3.5 4.5h17v4h-17z"/><path d="M10 12h4"/>`
	IconPanel    Icon = `<rect x="3.5" y="5" width="17" height="14" rx="2"/><path d="M15 5v14"/>`
	IconSwap     Icon = `<path d="M4 9h15M15.5 5.5L19 9l-3.5 3.5M20 15H5M8.5 11.5L5 15l3.5 3.5"/>`
	IconPlus     Icon = `<path d="M12 5.5v13M5.5 12h13"/>`
	IconSave     Icon = `<path d="M12 4v10.5M7.5 10.5l4.5 4.5 4.5-4.5M4.5 19.5h15"/>`
	IconWarning  Icon = `<path d="M12 4.5l8.5 15h-17z"/><path d="M12 10v4.2M12 16.8v0.4"/>`
	IconInfo     Icon = `<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5.2M12 7.6v0.4"/>`
	IconTrain    Icon = `<path d="M4 4.5v15h16"/><path d="M7 8c1.6 5.2 4.4 7.6 12.5 8"/><circle cx="7" cy="8" r="0.6"/>`
	IconModels   Icon = `<path d="M12 3.5l8 4.2v8.6l-8 4.2-8-4.2V7.7z"/><path d="M4.3 7.9L12 12l7.7-4.1M12 12v8.2"/>`
	IconPause    Icon = `<path d="M8.5 5.5v13M15.5 5.5v13"/>`
	IconPlay     Icon = `<path d="M8 5.5l10.5 6.5L8 18.5z"/>`
	IconRefresh  Icon = `<path d="M19 12a7 7 0 1 1-2.2-5.1"/><path d="M17.5 3.5v4h-4"/>`
	IconReport   Icon = `<path d="M6 3.5h8.5L18.5 7.5v13H6z"/><path d="M14 3.5V8h4.5M9 12h6.5M9 15.5h6.5"/>`
	IconCheck    Icon = `<path d="M5 12.5l4.5 4.5L19 7.5"/>`
	IconCopy     Icon = `<rect x="8.5" y="8.5" width="11" height="11.5" rx="1.5"/><path d="M15.5 8.5v-3A1.5 1.5 0 0 0 14 4H6a1.5 1.5 0 0 0-1.5 1.5v9A1.5 1.5 0 0 0 6 16h2.5"/>`
	IconSpark    Icon = `<path d="M12 4c.6 5 3 7.4 8 8-5 .6-7.4 3-8 8-.6-5-3-7.4-8-8 5-.6 7.4-3 8-8z"/>`
)

// resource gives the drawing in a colour. The name carries both, because the toolkit caches drawings by name.
func (i Icon) resource(c color.Color) fyne.Resource {
	r, g, b, _ := c.RGBA()
	hex := fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
	svg := `<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24"><g fill="none" stroke="` + hex +
		`" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">` + string(i) + `</g></svg>`
	var hash uint32 = 2166136261
	for _, c := range []byte(i) {
		hash = (hash ^ uint32(c)) * 16777619
	}
	return fyne.NewStaticResource(fmt.Sprintf("icon-%08x-%s.svg", hash, hex[1:]), []byte(svg))
}

// glyph is an icon on the screen that follows the theme.
type glyph struct {
	icon Icon
	role fyne.ThemeColorName
	img  *canvas.Image
}

func newGlyph(icon Icon, role fyne.ThemeColorName) *glyph {
	g := &glyph{icon: icon, role: role, img: &canvas.Image{FillMode: canvas.ImageFillContain}}
	g.paint()
	return g
}

func (g *glyph) set(icon Icon, role fyne.ThemeColorName) {
	if g.icon != icon || g.role != role {
		g.icon, g.role = icon, role
	}
	g.paint()
}

func (g *glyph) paint() {
	if g.icon == "" {
		g.img.Hide()
		return
	}
	res := g.icon.resource(theme.Color(g.role))
	if g.img.Resource == nil || g.img.Resource.Name() != res.Name() {
		g.img.Resource = res
		g.img.Refresh()
	}
	g.img.Show()
}

// Mark is a small drawing that stands before text.
type Mark struct {
	surface
	icon Icon
	role fyne.ThemeColorName
}

// NewMark makes a drawing in a role's colour.
func NewMark(icon Icon, role fyne.ThemeColorName) *Mark {
	m := &Mark{icon: icon, role: role}
	m.ExtendBaseWidget(m)
	return m
}

// Set changes the drawing and its colour.
func (m *Mark) Set(icon Icon, role fyne.ThemeColorName) {
	m.icon, m.role = icon, role
	m.Refresh()
}

// CreateRenderer implements fyne.Widget.
func (m *Mark) CreateRenderer() fyne.WidgetRenderer {
	g := newGlyph(m.icon, m.role)
	return &painter{
		objects: []fyne.CanvasObject{g.img},
		min:     func() fyne.Size { return fyne.NewSize(16, 16) },
		layout:  g.img.Resize,
		refresh: func() { g.set(m.icon, m.role) },
	}
}
