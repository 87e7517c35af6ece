package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// Where the columns of a workspace have their headline, and how high the bar under its middle is.
const (
	HeadTop    = 12
	HeadHeight = 30
	BarHeight  = 44
)

// FormColumn is the left column of a workspace: a headline, a form that scrolls, a line, and the foot with the main button.
func FormColumn(title string, form, foot fyne.CanvasObject) *fyne.Container {
	return container.New(formColumn{}, NewLabel(title, Section, Text), form, NewBacking(Line), foot)
}

type formColumn struct{}

// MinSize implements fyne.Layout.
func (formColumn) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(LeftMin, 320) }

// Layout implements fyne.Layout.
func (formColumn) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	title := objects[0].MinSize()
	objects[0].Resize(title)
	objects[0].Move(fyne.NewPos(Wide, HeadTop+(HeadHeight-title.Height)/2))
	foot := objects[3].MinSize().Height
	top := float32(HeadTop + HeadHeight)
	bottom := size.Height - foot - 2*12
	objects[1].Move(fyne.NewPos(0, top))
	objects[1].Resize(fyne.NewSize(size.Width, bottom-top))
	objects[2].Move(fyne.NewPos(0, bottom))
	objects[2].Resize(fyne.NewSize(size.Width, 1))
	objects[3].Move(fyne.NewPos(Wide, bottom+12))
	objects[3].Resize(fyne.NewSize(size.Width-2*Wide, foot))
}

// PagedStage is the middle of a workspace of pages: its head, the pages, a line and the bar, whose status gets what width there is.
// The notice floats above the bar, so that nothing moves when it comes.
func PagedStage(head, pages, bar fyne.CanvasObject, status *Label, notice *Notice) *fyne.Container {
	return container.New(pagedStage{status}, NewBacking(Canvas), head, pages, NewBacking(Line), bar, notice)
}

type pagedStage struct{ status *Label }

// MinSize implements fyne.Layout.
func (pagedStage) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(320, 320) }

// Layout implements fyne.Layout.
func (l pagedStage) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	height := size.Height - BarHeight
	objects[0].Resize(fyne.NewSize(size.Width, height))
	objects[1].Resize(fyne.NewSize(size.Width-2*Wide, HeadHeight))
	objects[1].Move(fyne.NewPos(Wide, HeadTop))
	top := float32(HeadTop + HeadHeight + Gap)
	objects[2].Resize(fyne.NewSize(size.Width, height-top))
	objects[2].Move(fyne.NewPos(0, top))
	objects[3].Resize(fyne.NewSize(size.Width, 1))
	objects[3].Move(fyne.NewPos(0, height))
	l.status.Width = max(200, min(400, size.Width-260))
	objects[4].Resize(fyne.NewSize(size.Width, BarHeight-1))
	objects[4].Move(fyne.NewPos(0, height+1))
	width := min(size.Width-2*Wide, 680)
	high := objects[5].(*Notice).HeightFor(width)
	objects[5].Resize(fyne.NewSize(width, high))
	objects[5].Move(fyne.NewPos((size.Width-width)/2, height-high-Wide))
}
