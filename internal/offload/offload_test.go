package offload

import "testing"

func TestMode(t *testing.T) {
	for _, m := range []Mode{Auto, On, Off} {
		var parsed Mode
		if err := parsed.UnmarshalText([]byte(m.String())); err != nil || parsed != m {
			t.Errorf("%v is parsed as %v, error %v", m, parsed, err)
		}
	}
	for _, text := range []string{"", "On", "yes", "auto "} {
		m := Off
		if err := m.UnmarshalText([]byte(text)); err == nil || m != Off {
			t.Errorf("%q is parsed as %v", text, m)
		}
	}
}
