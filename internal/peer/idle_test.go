package peer

import (
	"math"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/internal/metrics"
)

func TestIdle(t *testing.T) {
	for _, test := range []struct{ heard, sent, want float64 }{
		{-1, -1, math.Inf(1)}, {3, -1, 3}, {-1, 4, 4}, {5, 2, 2}, {0, 9, 0},
	} {
		if got := (&Info{HeardSeconds: test.heard, SentSeconds: test.sent}).IdleSeconds(); got != test.want {
			t.Errorf("heard %v, sent %v: idle for %v, want %v", test.heard, test.sent, got, test.want)
		}
	}
}

// Metrics know each budget by its name.
func TestBudgetNames(t *testing.T) {
	var names []string
	for l := range limits {
		names = append(names, l.String())
	}
	if !slices.Equal(names, metrics.Budgets()) {
		t.Errorf("budgets %v, in metrics %v", names, metrics.Budgets())
	}
}
