package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/ui/kit"
)

// statusBar is the line at the foot: the device and its health at the left, the last saved file at the right.
type statusBar struct {
	dot     *kit.Dot
	device  *kit.Remark
	saved   *kit.Remark
	content fyne.CanvasObject
}

func newStatusBar(tips *kit.Tips) *statusBar {
	b := &statusBar{dot: kit.NewDot(kit.Secondary)}
	b.device = kit.NewRemark(tips, "Starting engine…", kit.Caption, kit.Secondary)
	b.saved = kit.NewRemark(tips, "", kit.Caption, kit.Secondary)
	b.saved.Align = fyne.TextAlignTrailing
	b.content = kit.Inset(kit.Wide, 0, container.New(statusLayout{}, b.dot, b.device, b.saved))
	return b
}

// statusLayout gives the device what it needs and the file the rest, but a third at least.
type statusLayout struct{}

// MinSize implements fyne.Layout.
func (statusLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(200, objects[1].MinSize().Height)
}

// Layout implements fyne.Layout: dot, device, file.
func (statusLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	dot, left := objects[0].MinSize(), kit.TextWidth(objects[1].(*kit.Remark).Text, kit.Caption)
	right := kit.TextWidth(objects[2].(*kit.Remark).Text, kit.Caption)
	room := size.Width - dot.Width - kit.Gap
	if right > 0 {
		room -= kit.Wide
	}
	right = min(right, max(room/3, room-left))
	left = min(left, room-right)
	for i, at := range []struct{ x, width float32 }{{0, dot.Width}, {dot.Width + kit.Gap, left}, {size.Width - right, right}} {
		height := objects[i].MinSize().Height
		objects[i].Resize(fyne.NewSize(at.width, height))
		objects[i].Move(fyne.NewPos(at.x, (size.Height-height)/2))
	}
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
	detail := d.Detail
	if detail == "" {
		detail = "What computes the pictures, whether its kernels agree with their definitions, and its memory in use."
	}
	b.device.SetTip(kit.Tip{Name: d.Name, Text: detail})
	b.device.Set(text, kit.Secondary)
	b.content.Refresh()
}

// say shows a word about the last saved file.
func (b *statusBar) say(text string) {
	b.saved.SetTip(kit.Tip{Name: "Last file", Text: text})
	b.saved.Set(text, kit.Secondary)
	b.content.Refresh()
}
