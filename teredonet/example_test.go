package teredonet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/teredo-suite/teredo/teredonet"
)

// A web server that the IPv6 Internet reaches, from behind a NAT, and a web client that fetches its page. Both have IPv6 of their
// own, from a Teredo server that the example runs. In a program, the configuration is teredonet.Config{Servers: []string{"teredo.example.net"}}.
func Example() {
	lab, err := onLoopback()
	if err != nil {
		log.Fatal(err)
	}
	defer lab.close()
	site := serve(lab.client(1))
	defer site.Close()
	fetch(lab.client(2), "http://["+site.Addr().String()+"]/")
	// Output: Hello from the Internet's other end.
}

// serve runs a web server until the Net is closed.
func serve(config teredonet.Config) *teredonet.Net {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := teredonet.Up(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := n.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Hello from the Internet's other end.")
	}))
	return n
}

// fetch prints a page.
func fetch(config teredonet.Config, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := teredonet.Up(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	client := http.Client{Transport: &http.Transport{DialContext: n.DialContext, DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(page))
}
