package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// Geometry of the chart, in pixels.
const (
	chartWidth = 860
	labelWidth = 400
	lineHeight = 24
	chartTop   = 56
	axisMost   = 30.0 // times as good
)

// chart draws how many times as good as Miredo each quantity is, on a logarithmic scale.
func chart(rows []row) []byte {
	var compared []row
	for _, r := range rows {
		if r.better > 0 {
			compared = append(compared, r)
		}
	}
	height := chartTop + lineHeight*len(compared) + 16
	x := func(better float64) float64 {
		share := math.Log(min(max(better, 0.5), axisMost)/0.5) / math.Log(axisMost/0.5)
		return labelWidth + share*(chartWidth-labelWidth-70)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, height)
	fmt.Fprint(&b, `<text x="12" y="22" font-size="15" fill="#222">How many times as good as Miredo (1 = the same)</text>`+"\n")
	for _, tick := range []float64{0.5, 1, 2, 5, 10, 20} {
		colour := "#ddd"
		if tick == 1 {
			colour = "#888"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", x(tick), chartTop-6, x(tick), height-12, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#666" font-size="11">%g</text>`+"\n", x(tick), chartTop-10, tick)
	}
	for i, r := range compared {
		y := chartTop + i*lineHeight
		from, to := min(x(1), x(r.better)), max(x(1), x(r.better))
		colour := "#2b7a4b"
		if !r.Met {
			colour = "#b5651d"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`+"\n", labelWidth-10, y+15, html.EscapeString(r.What))
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", from, y+3, to-from, lineHeight-8, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#222">%.1f</text>`+"\n", to+5, y+15, r.better)
	}
	fmt.Fprint(&b, "</svg>\n")
	return b.Bytes()
}
