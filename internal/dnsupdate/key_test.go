package dnsupdate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const keygen = `key "laptop" {
	algorithm hmac-sha256;
	secret "yLdK4uv5r5jMVzAS7yHCjaNqo0FgxrGpZHfDzRErmMc=";
};
`

func TestParseKey(t *testing.T) {
	laptop := Key{"laptop.", dns.HmacSHA256, "yLdK4uv5r5jMVzAS7yHCjaNqo0FgxrGpZHfDzRErmMc="}
	for name, test := range map[string]struct {
		text string
		want Key
		err  string
	}{
		"as tsig-keygen writes it": {keygen, laptop, ""},
		"another order, comments, no quotes": {"/* a */ key laptop { // b\n" +
			"secret yLdK4uv5r5jMVzAS7yHCjaNqo0FgxrGpZHfDzRErmMc=; # c\nalgorithm \"HMAC-SHA256\";};", laptop, ""},
		"two keys":         {keygen + keygen, Key{}, errForm.Error()},
		"empty":            {"# nothing", Key{}, errForm.Error()},
		"open string":      {`key "laptop { };`, Key{}, errForm.Error()},
		"another word":     {`key "laptop" { algorithm hmac-sha256; secrets "YQ=="; };`, Key{}, errForm.Error()},
		"half a statement": {`key "laptop" { algorithm hmac-sha256; secret };`, Key{}, errForm.Error()},
		"MD5":              {strings.Replace(keygen, "sha256", "md5", 1), Key{}, `the algorithm "hmac-md5" is not supported: make a key with 'tsig-keygen -a hmac-sha256 NAME'`},
		"no base64":        {`key "laptop" { algorithm hmac-sha256; secret "hunter2!"; };`, Key{}, "the secret is not base64"},
		"no secret":        {`key "laptop" { algorithm hmac-sha256; };`, Key{}, "the secret is not base64"},
		"no name":          {strings.Replace(keygen, "laptop", "", 1), Key{}, `"" cannot be the name of a key`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseKey(test.text)
			if got != test.want && err == nil || err != nil && err.Error() != test.err || err == nil && test.err != "" {
				t.Errorf("%+v, %v; want %+v, %s", got, err, test.want, test.err)
			}
		})
	}
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(keygen), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := LoadKey(path); k.Name != "laptop." || err != nil {
		t.Errorf("%+v, %v", k, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(keygen)
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := parseKey(text); err == nil && (k.Name == "" || k.Algorithm == "" || k.Secret == "") {
			t.Errorf("%+v", k)
		}
	})
}
