//go:build linux

package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// Geometry of the chart, in pixels.
const (
	chartWidth = 960
	labelWidth = 440
	valueWidth = 150 // right of the longest bar
	barHeight  = 16
	barGap     = 2
	groupGap   = 8 // between quantities
	chartTop   = 76
	axisLeast  = 0.5  // times as good
	axisMost   = 60.0 // times as good
)

// chart draws how many times as good as Miredo each quantity is, on a logarithmic scale: a bar for ours, and one below it
// for ours without the kernel path.
func chart(rows []row) []byte {
	var bars bytes.Buffer
	y := chartTop
	for _, r := range rows {
		y = drawGroup(&bars, y, r)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", chartWidth, y+16)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, y+16)
	fmt.Fprint(&b, `<text x="12" y="22" font-size="15" fill="#222">How many times as good as Miredo (1 = the same)</text>`+"\n")
	fmt.Fprint(&b, `<text x="12" y="42" fill="#666">Green: the aim is met. Brown: it is missed.</text>`+"\n")
	for _, tick := range []float64{0.5, 1, 2, 5, 10, 20, 50} {
		colour := "#ddd"
		if tick == 1 {
			colour = "#888"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", across(tick), chartTop-6, across(tick), y+4, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#666" font-size="11">%g</text>`+"\n", across(tick), chartTop-10, tick)
	}
	b.Write(bars.Bytes())
	fmt.Fprint(&b, "</svg>\n")
	return b.Bytes()
}

// drawGroup draws the bars of one quantity, if it was compared, and returns where the next one begins.
func drawGroup(b *bytes.Buffer, top int, r row) (bottom int) {
	y := top
	for _, bar := range []struct {
		*summary
		suffix string
	}{{r.Ours, ""}, {r.Workers, ", --kernel-path=off"}} {
		if bar.summary != nil && bar.Better > 0 {
			drawBar(b, y, bar.summary, bar.suffix)
			y += barHeight + barGap
		}
	}
	if y == top {
		return top
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`+"\n", labelWidth-10, top+12, html.EscapeString(r.What))
	return y + groupGap
}

func drawBar(b *bytes.Buffer, y int, s *summary, suffix string) {
	colour := "#2b7a4b"
	if s.Verdict != met {
		colour = "#b5651d"
	}
	from, to := min(across(1), across(s.Better)), max(across(1), across(s.Better))
	fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", from, y, to-from, barHeight, colour)
	fmt.Fprintf(b, `<text x="%.1f" y="%d" fill="#222">%.1f%s</text>`+"\n", to+5, y+12, s.Better, suffix)
}

// across is where a number of times as good lies.
func across(better float64) float64 {
	share := math.Log(min(max(better, axisLeast), axisMost)/axisLeast) / math.Log(axisMost/axisLeast)
	return labelWidth + share*(chartWidth-labelWidth-valueWidth)
}
