package tunnel_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
)

// update has TestMatrix and TestScale write their documents anew. Flags must be known before any test runs.
var update = flag.Bool("update", false, "write docs/nat-matrix.md and docs/scale.md as measured")

const matrixDocument = "../docs/nat-matrix.md"

// cell is what was measured of one pair of NATs.
type cell struct {
	outcome                // with all extensions, at one server
	needed   string        // the first extension set that connects; "No" when none does
	twoHomes bool          // connects too when each client has a server of its own
	native   time.Duration // from sending to arrival at the other client's native address, through a relay; 0: does not connect
}

// The matrix of RFC 6081 figure 1, measured. Every pair that the figure connects is connected, directly and by the extensions
// that it names (X-COM-01, X-SNS-09, X-UPNP-08, X-PP-12, X-SEQ-05); the others connect as well or have their sender told.
// docs/nat-matrix.md is what was measured.
func TestMatrix(t *testing.T) {
	kinds, figure := natKinds(), figure1()
	cells := make([][]cell, len(kinds))
	for i, from := range kinds {
		for j, to := range kinds {
			var c cell
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				c = measure(t, from, to)
				c.check(t, figure[i][j])
			})
			cells[i] = append(cells[i], c)
		}
	}
	if t.Failed() {
		return
	}
	text := document(cells)
	if *update {
		if err := os.WriteFile(matrixDocument, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(matrixDocument)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(written)); diff != "" {
		t.Errorf("the document is stale; write it with go test ./tunnel -run TestMatrix -update (-measured +written):\n%s", diff)
	}
}

func measure(t *testing.T, from, to natKind) cell {
	try := func(with peer.Extensions, servers int) (o outcome) {
		natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
			if p := pair(in, from, to, with, servers); p.qualified() {
				o = p.connect()
			}
		})
		return o
	}
	c := cell{outcome: try(allExtensions(), 1), needed: "No", twoHomes: try(allExtensions(), 2).connected}
	for _, set := range extensionSets() {
		if try(set.Extensions, 1).connected {
			c.needed = set.name
			break
		}
	}
	c.native = atNativeAddresses(t, from, to)
	return c
}

// unreachableWithin is four bubbles or tests with their time-outs (K-10, K-11), which may follow on a path that has come about
// in one direction.
const unreachableWithin = tries*timeout + time.Second

func (c *cell) check(t *testing.T, figure string) {
	t.Helper()
	switch {
	case c.connected && !c.direct:
		t.Error("data has gone to a server")
	case c.connected && c.answer != direct:
		t.Errorf("the answer took %v", c.answer)
	case figure != "No" && (!c.connected || c.needed != figure):
		t.Errorf("connected is %v with all extensions, and %q are needed, want %q", c.connected, c.needed, figure)
	case c.connected != (c.needed != "No"):
		t.Errorf("connected is %v with all extensions, but %q are needed", c.connected, c.needed)
	case !c.connected && (c.unreachable == 0 || c.unreachable > unreachableWithin):
		t.Errorf("the sender is told after %v that the destination is unreachable", c.unreachable)
	}
}

const matrixText = `# NAT matrix

This page shows which kinds of NAT let two clients connect, and how. It is figure 1 of RFC 6081 as measured, with the clients and servers that
ship, in the simulated internet of the tests. The client in the row sends the first packet to the client in the column, which answers
it. Any two hosts are 20 ms apart, so a round trip takes 40 ms. ` + "`" + `teredo-client probe` + "`" + ` tells which kind of NAT you have.

A test measures all of this again, and fails if the result differs from this file:

    go test ./tunnel -run TestMatrix            # compare
    go test ./tunnel -run TestMatrix -update    # write the file

The NATs are, in the terms of RFC 4787:

| name | mapping | filtering | ports |
|---|---|---|---|
| cone | endpoint-independent | endpoint-independent | random |
| address-restricted | endpoint-independent | address-dependent | random |
| port-restricted | endpoint-independent | address and port-dependent | random |
| UPnP port-restricted | as port-restricted | none for the port that the client has asked for | that port |
| UPnP port-symmetric | as port-symmetric; the first destination sees the port that the client has asked for | none for that port | random |
| port-preserving | address and port-dependent | address and port-dependent | that of the client, for the first destination |
| sequential | address and port-dependent | address and port-dependent | one after the other |
| port-symmetric | address and port-dependent | address and port-dependent | random |
| address-symmetric | address and port-dependent, each with another address | address and port-dependent | random |

Further tests vary the conditions:

- TestMatrixLoss drops each single packet of each exchange in turn, outside of the NATs. TestMatrixReordering makes links reorder and
  duplicate packets. The same pairs connect, at most two repetitions (4 s) later.
- TestMatrixOneNAT puts both clients behind one NAT, with and without hairpinning. TestMatrixNestedNATs puts them behind two NATs that are
  behind a third. With the hairpinning extension the clients meet at their local addresses, or at those that UPnP reports.

## What it takes

- **Yes**: the pair connects without extensions.
- **SNS**, **UPnP**, **PP**, **SS**: both clients need at least these extensions of RFC 6081. SNS is symmetric NAT support, UPnP the UPnP-enabled
  symmetric NAT extension, PP the port-preserving and SS the sequential-port symmetric NAT extension.
- **No**: the pair does not connect.
- A star marks pairs that connect although the figure says "No". A port-restricted NAT with UPnP lets everyone in, and packets leave from the
  port that everyone knows.
- ¹ marks pairs that connect only if both clients use the same server, as they did here. With two servers, a bubble of the client behind the
  address-symmetric NAT reaches the other server from an IPv4 address that differs from the one in the client's IPv6 address. The server
  must not forward such a bubble (RFC 4380 §5.3.1).

%s
## How long it takes

The table shows the milliseconds from the first packet to its arrival, with all extensions on. The answer always took 20 ms. After "no" it
shows the seconds until ICMPv6 told the sender that the destination is unreachable. Pairs that take about 2 s longer follow the
examples in RFC 6081 §6.1 and §6.3: the client that began learns only from its second indirect bubble that the path works.

%s
## At native addresses

Where server and relay give clients native addresses ([protocol.md](protocol.md#an-operators-own-prefix)), the relay connects them. Milliseconds from
the first packet to its arrival. A client behind an address-symmetric NAT reaches no relay at all: its packets come from another IPv4
address than it has in its IPv6 address, and a relay must drop them (RFC 4380 §5.4.2).

%s
## Random ports

The table shows whose data left from a random port (RFC 6081 §5.4 and §5.5): that of the row's client, of the column's, or of both.

%s`

// document describes the measured matrix.
func document(cells [][]cell) string {
	figure := figure1()
	needed := table(func(i, j int) string {
		c := cells[i][j]
		text := c.needed
		if c.connected && figure[i][j] == "No" {
			text += "*"
		}
		if c.connected && !c.twoHomes {
			text += "¹"
		}
		return text
	})
	times := table(func(i, j int) string {
		c := cells[i][j]
		if !c.connected {
			return fmt.Sprintf("no, %.1f", c.unreachable.Seconds())
		}
		return fmt.Sprint(c.first.Milliseconds())
	})
	ports := table(func(i, j int) string {
		switch c := cells[i][j]; {
		case c.fromPort && c.toPort:
			return "both"
		case c.fromPort:
			return "row"
		case c.toPort:
			return "column"
		}
		return ""
	})
	natives := table(func(i, j int) string {
		if c := cells[i][j]; c.native != 0 {
			return fmt.Sprint(c.native.Milliseconds())
		}
		return "no"
	})
	return fmt.Sprintf(matrixText, needed, times, natives, ports)
}

// table is one in Markdown with a row and a column for each kind of NAT.
func table(text func(i, j int) string) string {
	var b strings.Builder
	kinds := natKinds()
	b.WriteString("| from, to |")
	for _, k := range kinds {
		fmt.Fprintf(&b, " %s |", k.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(kinds)+1) + "\n")
	for i, k := range kinds {
		fmt.Fprintf(&b, "| %s |", k.name)
		for j := range kinds {
			fmt.Fprintf(&b, " %s |", text(i, j))
		}
		b.WriteString("\n")
	}
	return b.String()
}
