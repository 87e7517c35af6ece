package ui

import (
	"fyne.io/fyne/v2"

	"atelier/ui/kit"
)

// statusBar is the line at the foot: the device and its health at the left, the last saved file at the right.
type statusBar struct {
	dot     *kit.Dot
	device  *kit.Label
	saved   *kit.Label
	content fyne.CanvasObject
}

func newStatusBar() *statusBar {
	b := &statusBar{dot: kit.NewDot(kit.Secondary)}
	b.device = kit.NewLabel("Starting engine…", kit.Caption, kit.Secondary)
	b.saved = kit.NewLine("", kit.Caption, kit.Secondary, 100)
	b.saved.Align = fyne.TextAlignTrailing
	b.content = kit.Inset(kit.Wide, 0, kit.Row(kit.Gap, 2, b.dot, b.device, b.saved))
	return b
}

// set shows a device that has started.
func (b *statusBar) set(d DeviceStatus) {
	text := d.Name
	if d.Health != "" {
		text += " · " + d.Health
	}
	switch {
	case d.TotalBytes > 0:
		text += " · " + kit.Bytes(d.UsedBytes) + " of " + kit.Bytes(d.TotalBytes)
	case d.UsedBytes > 0:
		text += " · " + kit.Bytes(d.UsedBytes)
	}
	role := kit.AccentInk
	switch {
	case d.Unproven:
		role = kit.Secondary
	case d.OK:
		role = kit.Healthy
	}
	b.dot.Set(role)
	b.device.Set(text, kit.Secondary)
	b.content.Refresh()
}

// say shows a word about the last saved file.
func (b *statusBar) say(text string) { b.saved.Set(text, kit.Secondary) }
