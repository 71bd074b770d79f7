package peer

// Counts are the entries of the list of recent peers, by what is known of them.
type Counts struct {
	Established int `json:"peers_established"` // packets have gone both ways
	Sought      int `json:"peers_sought"`      // our side looks for a path, or has
	Strangers   int `json:"peers_strangers"`   // they have made themselves known
}

// settleMost is how many entries of a chain one count looks at.
const settleMost = 1024

// Counts counts the entries. A new peer moves to the established ones when there is need for its room, or here.
func (l *list) Counts() Counts {
	l.settle(&l.parts[sought])
	l.settle(&l.parts[strangers])
	return Counts{Established: l.parts[established].n, Sought: l.parts[sought].n, Strangers: l.parts[strangers].n}
}

// settle moves those of the newest peers of a chain that packets have gone both ways with to the established ones, as far as there
// is room.
func (l *list) settle(c *chain) {
	p := c.newest
	for range settleMost {
		if p == nil || l.parts[established].n >= l.parts[established].most {
			return
		}
		older := p.older
		if p.bidirectional() {
			l.establish(p)
		}
		p = older
	}
}
