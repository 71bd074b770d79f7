package peer

// part says which part of the list a peer is in.
type part uint8

const (
	established part = iota // packets have gone both ways
	sought                  // our side looks for it
	strangers               // it has made itself known
)

// chain is a list of the peers of a part, the one put in longest ago first.
type chain struct {
	oldest, newest *Peer
	n, most        int
	part           part
}

// push puts a peer at the end; used is its last use as known now.
func (c *chain) push(p *Peer, used Stamp) {
	p.part, p.noted = c.part, used
	p.older, p.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = p
	} else {
		c.oldest = p
	}
	c.newest = p
	c.n++
}

func (c *chain) unlink(p *Peer) {
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		c.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		c.newest = p.older
	}
	p.older, p.newer = nil, nil
	c.n--
}

// renew moves a peer that was used since it was put in to the end, and reports whether it was.
func (c *chain) renew(p *Peer) bool {
	used := p.lastUse()
	if used <= p.noted {
		return false
	}
	c.unlink(p)
	c.push(p, used)
	return true
}

// waiting orders searches by deadline, for container/heap.
type waiting []*setup

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].deadline < w[j].deadline }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}
func (w *waiting) Push(x any) {
	s := x.(*setup)
	s.index = len(*w)
	*w = append(*w, s)
}
func (w *waiting) Pop() any {
	old := *w
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	s.index = -1
	return s
}
