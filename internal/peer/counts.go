package peer

// Counts are the entries of the list of recent peers, by what is known of them.
type Counts struct {
	Established int `json:"peers_established"` // packets have gone both ways
	Sought      int `json:"peers_sought"`      // our side looks for a path, or has
	Strangers   int `json:"peers_strangers"`   // they have made themselves known
}

// Counts counts the entries.
func (l *list) Counts() Counts {
	return Counts{Established: l.parts[established].n, Sought: l.parts[sought].n, Strangers: l.parts[strangers].n}
}
