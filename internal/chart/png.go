// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"image"
	imagecolor "image/color"
	"image/draw"
	"image/png"
	"io"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// PNG writes a picture as PNG.
func PNG(w io.Writer, p Picture) error {
	d, err := newDrawing(p, true)
	if err != nil {
		return err
	}
	img := image.NewRGBA(image.Rect(0, 0, Width, d.height))
	for i := range d.shapes {
		s := &d.shapes[i]
		src := image.NewUniform(imagecolor.RGBA{s.fill[0], s.fill[1], s.fill[2], 0xff})
		if s.text == "" {
			draw.Draw(img, image.Rect(s.x, s.y, s.x+s.w, s.y+s.h), src, image.Point{}, draw.Src)
			continue
		}
		pen := font.Drawer{Dst: img, Src: src, Face: d.face(s.size, s.bold), Dot: fixed.P(s.x, s.y)}
		switch width := pen.MeasureString(s.text); s.anchor {
		case middle:
			pen.Dot.X -= width / 2
		case end:
			pen.Dot.X -= width
		}
		pen.DrawString(s.text)
	}
	if err := png.Encode(w, img); err != nil {
		return fmt.Errorf("encode PNG: %w", err)
	}
	return nil
}
