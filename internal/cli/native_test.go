package cli

import "testing"

// A prefix that cannot be a native prefix has an error that says what to do.
func TestNativePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"2001:db8:c::/64":         "",
		"2001:db8::/32":           "2001:db8::/32 is larger than a /64: choose one /64 of it, such as 2001:db8::/64",
		"2001:db8:c::/80":         "2001:db8:c::/80 is smaller than a /64, and every client needs an address: give a whole /64",
		"2001:db8:c::":            "2001:db8:c:: has no prefix length: write 2001:db8:c::/128 for this one address",
		"2001:db8:c::1/64":        "2001:db8:c::1/64 has bits set beyond its prefix length: write 2001:db8:c::/64",
		"fd00:1::/64":             "fd00:1::/64 is not a global unicast prefix: give a /64 of native IPv6 that belongs to you",
		"2001::/64":               "2001::/64 is not a global unicast prefix: give a /64 of native IPv6 that belongs to you",
		"192.0.2.0/24":            "192.0.2.0/24 is an IPv4 range, and IPv6 ranges are needed",
		"eth0":                    `"eth0" is not an IPv6 range in CIDR form, such as 2001:db8:c::/64`,
		"192.0.2.1=2001:db8::/64": "192.0.2.1=2001:db8::/64 names a server, and this is the server: write the prefix alone",
	} {
		var one NativePrefix
		if got := message(one.UnmarshalText([]byte(text))); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"2001:db8:c::/64": "",
		"192.0.2.1=2001:db8:c::/64, 192.0.2.2=2001:db8:d::/64": "",
		"192.0.2=2001:db8:c::/64":                              `the server in 192.0.2=2001:db8:c::/64: "192.0.2" is not an IPv4 address, such as 192.0.2.1`,
		"192.0.2.1=fd00::/64":                                  "fd00::/64 is not a global unicast prefix: give a /64 of native IPv6 that belongs to you",
	} {
		var several NativePrefixes
		if got := message(several.UnmarshalText([]byte(text))); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
