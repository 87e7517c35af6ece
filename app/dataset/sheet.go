package dataset

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"

	xdraw "golang.org/x/image/draw"
)

const (
	sheetGap  = 4
	sheetCell = 192 // the most pixels of a cell's side
	sheetMost = 400 // cells
)

// Sheet shows what augmentation does: a row for each of the items, the plain picture first and then columns − 1 variations as
// training would see them. Transparent pictures lie on a chequered ground.
func (d *Dataset) Sheet(ctx context.Context, items []int, columns int, seed uint64, o BatchOptions) (*image.NRGBA, error) {
	if len(items) == 0 || columns < 1 || len(items)*columns > sheetMost {
		return nil, errors.New("a preview shows 1 to 400 pictures; choose fewer rows or columns")
	}
	for _, i := range items {
		if i < 0 || i >= len(d.Items) {
			return nil, errors.New("a preview shows pictures of the set; there is none of this number")
		}
	}
	if o.Channels == 0 {
		o.Channels = 4
	}
	b, err := d.Subset(items).Batches(seed, o)
	if err != nil {
		return nil, err
	}
	side := 0
	for _, s := range b.Sizes() {
		side = max(side, s.Width, s.Height)
	}
	side = min(side, sheetCell)
	pitch := side + sheetGap
	sheet := image.NewNRGBA(image.Rect(0, 0, columns*pitch+sheetGap, len(items)*pitch+sheetGap))
	draw.Draw(sheet, sheet.Rect, image.NewUniform(color.NRGBA{96, 96, 96, 255}), image.Point{}, draw.Src)
	for row, it := range b.set.Items {
		size := b.buckets.Assign(it.Width, it.Height)
		m, err := b.scaled(ctx, row, size)
		if err != nil {
			return nil, err
		}
		for col := range columns {
			v := unvaried()
			if col > 0 {
				v = b.o.Augment.draw(newDraws(seed, streamSheet, uint32(row), uint32(col)), b.o.Crop, it.Caption)
			}
			c := canvas{size: size, channels: b.o.Channels, background: b.o.Background}
			data := make([]float32, size.Width*size.Height*c.channels)
			c.paint(m, v, data)
			at := image.Pt(sheetGap+col*pitch, sheetGap+row*pitch)
			paste(sheet, image.Rectangle{at, at.Add(image.Pt(side, side))}, Picture(data, size.Width, size.Height, c.channels))
		}
	}
	return sheet, nil
}

// paste draws a picture into the middle of a cell, made smaller where it must be, on a chequered ground.
func paste(sheet *image.NRGBA, cell image.Rectangle, m *image.NRGBA) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if most := max(w, h); most > cell.Dx() {
		w, h = max(w*cell.Dx()/most, 1), max(h*cell.Dx()/most, 1)
	}
	to := image.Rect(0, 0, w, h).Add(cell.Min).Add(image.Pt((cell.Dx()-w)/2, (cell.Dy()-h)/2))
	for y := to.Min.Y; y < to.Max.Y; y++ {
		for x := to.Min.X; x < to.Max.X; x++ {
			v := uint8(204)
			if ((x-to.Min.X)/8+(y-to.Min.Y)/8)%2 == 0 {
				v = 255
			}
			sheet.SetNRGBA(x, y, color.NRGBA{v, v, v, 255})
		}
	}
	if to.Dx() == m.Rect.Dx() && to.Dy() == m.Rect.Dy() {
		draw.Draw(sheet, to, m, image.Point{}, draw.Over)
		return
	}
	xdraw.CatmullRom.Scale(sheet, to, m, m.Rect, xdraw.Over, nil)
}

// Picture turns a tensor's rows x [h w channels], as Batches gives them, back into a picture with straight alpha.
func Picture(x []float32, w, h, channels int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		p, to := x[i*channels:(i+1)*channels], m.Pix[4*i:4*i+4]
		a := float32(1)
		if channels == 4 {
			a = min(max(p[3]/2+0.5, 0), 1)
		}
		to[3] = uint8(255*a + 0.5)
		if to[3] == 0 {
			continue
		}
		for k := range 3 {
			v := p[0]
			if channels > 1 {
				v = p[k]
			}
			to[k] = uint8(255*min(max((v/2+0.5)/a, 0), 1) + 0.5)
		}
	}
	return m
}
