package tunnel

func (l lane) String() string {
	return [lanes]string{fromStack: "stack", answers: "answers", wanted: "wanted", fromServer: "server", strangers: "strangers"}[l]
}

// waiting is how many questions wait in each lane that is not empty.
func (t *tunnel) waiting() map[string]int {
	n := make(map[string]int)
	for l := range lanes {
		if waits := len(t.queues[l].waiting); waits > 0 {
			n[l.String()] = waits
		}
	}
	return n
}
