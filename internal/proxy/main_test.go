package proxy

import (
	"testing"

	"github.com/teredo-suite/teredo/internal/leak"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }
