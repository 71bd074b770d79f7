package tunnel_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/natsim"
)

func TestZZ4(t *testing.T) {
	var a, b natKind
	for _, k := range natKinds() {
		if k.name == os.Getenv("FROM") {
			a = k
		}
		if k.name == os.Getenv("TO") {
			b = k
		}
	}
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		p := pair(in, a, b, allExtensions(), 1)
		p.connect()
		time.Sleep(6 * time.Minute)
		p.from.Send(p.to.Addr(), "next")
		for range 20 {
			time.Sleep(time.Second)
			for _, d := range p.to.Received() {
				fmt.Println("TO got", d.Data(), d.Kind(), d.At)
				p.to.Send(p.from.Addr(), "back")
			}
			for _, d := range p.from.Received() {
				fmt.Println("FROM got", d.Data(), d.Kind(), d.At)
			}
		}
		fmt.Println(p.from.Status().Drops, p.to.Status().Drops)
		for _, rec := range in.Trace() {
			if rec.At > 340*time.Second && rec.Event != natsim.Received {
				fmt.Print(rec.String())
				if len(rec.Packet.Payload) > 40 && rec.Packet.Kind() == "bubble" {
					fmt.Printf(" %x", rec.Packet.Payload[40:])
				}
				fmt.Println()
			}
		}
	})
}
