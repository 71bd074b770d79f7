package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shells complete a line with the script that their packages install, and print what comes of it, one a line.
var shells = map[string]struct{ extension, complete string }{
	"bash": {".bash", `
		source "$SCRIPT"
		compopt() { COMPREPLY=(FILES); }
		COMP_LINE=$LINE COMP_POINT=${#LINE}
		_teredo_client
		printf '%s\n' "${COMPREPLY[@]}"`},
	"zsh": {".zsh", `
		compdef() { }
		_files() { print FILES }
		_describe() { print -rl -- "${candidates[@]}" }
		source "$SCRIPT"
		words=("${(@s: :)LINE}") CURRENT=$#words PREFIX=$words[-1]
		_teredo_client`},
	"fish": {".fish", `
		source $SCRIPT
		complete -C $LINE`},
}

// completed are the words that a shell offers for a line.
func completed(t *testing.T, shell, line string) (words []string) {
	t.Helper()
	tool(t, shell)
	flags := map[string][]string{"bash": {"--norc"}, "zsh": {"-f"}, "fish": {"--no-config"}}
	command := exec.Command(shell, append(flags[shell], "-c", shells[shell].complete)...)
	command.Dir = t.TempDir()
	command.Env = append(os.Environ(), "LINE="+line, "HOME="+command.Dir,
		"PATH="+filepath.Dir(made.binary(platform, "teredo-client"))+":"+os.Getenv("PATH"),
		"SCRIPT="+filepath.Join(made.work, "teredo-client"+shells[shell].extension))
	if err := os.WriteFile(filepath.Join(command.Dir, "file.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var faults strings.Builder
	command.Stderr = &faults
	out, err := command.Output()
	if err != nil || faults.Len() > 0 {
		t.Fatalf("%s: %v %s", shell, err, &faults)
	}
	for word := range strings.Lines(string(out)) {
		word, _, _ = strings.Cut(strings.TrimSuffix(word, "\n"), "\t")
		words = append(words, word)
	}
	return words
}

func TestShellsComplete(t *testing.T) {
	folder := t.TempDir()
	config := filepath.Join(folder, "client.toml")
	if err := os.WriteFile(config, []byte(`server = ["teredo.example.net", "192.0.2.1"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(folder, "socket")
	servePeers(t, socket)
	for shell := range shells {
		t.Run(shell, func(t *testing.T) {
			for line, want := range map[string][]string{
				"teredo-client bug":                                                    {"bugreport"},
				"teredo-client run --log-f":                                            {"--log-format"},
				"teredo-client run --log-format ":                                      {"text", "json"},
				"teredo-client run --no-port-m":                                        {"--no-port-mapping"},
				"teredo-client run --config " + config + " --server t":                 {"teredo.example.net"},
				"teredo-client ping --control " + socket + " 2001:0:c000:201:":         {"2001:0:c000:201:0:f227:39cc:9bfe", "2001:0:c000:201:8000:f227:39cc:9bfe"},
				"teredo-client ping --control " + filepath.Join(folder, "none") + " 2": nil,
				"teredo-client probe --control none 1":                                 nil,
			} {
				got := completed(t, shell, line)
				if shell == "bash" { // it replaces what follows the last colon
					for i, word := range want {
						want[i] = word[strings.LastIndex(word, ":")+1:]
						if strings.HasPrefix(word, "2001") {
							want[i] = strings.TrimPrefix(word, "2001:0:c000:201:")
						}
					}
				}
				if shell == "zsh" {
					for i, word := range got {
						word, _, _ = strings.Cut(strings.ReplaceAll(word, `\:`, "\x00"), ":")
						got[i] = strings.ReplaceAll(word, "\x00", ":")
					}
				}
				got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s: %q; want %q", line, got, want)
				}
			}
			if files := completed(t, shell, "teredo-client run --config "); len(files) != 1 || files[0] != "FILES" && files[0] != "file.toml" {
				t.Errorf("files: %q", files)
			}
		})
	}
}

// servePeers answers as a running client that knows two peers.
func servePeers(t *testing.T, socket string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	peers := []map[string]string{{"address": "2001:0:c000:201:0:f227:39cc:9bfe"}, {"address": "2001:0:c000:201:8000:f227:39cc:9bfe"}, {"address": "2001:db8::1"}}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(peers)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
}
