package conformance

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The sections of RFC 4380 about clients and relays, and where their rules are. An entry names a file and a function, or a method as
// Type.name, whose comment cites the section. In package qualify any declaration of the folder will do.
var sections = []struct {
	section string
	places  []place
}{
	{"5.2.1", []place{{file: "qualify"}}},
	{"5.2.2", []place{{file: "qualify"}}},
	{"5.2.3", []place{
		{"internal/peer/rfc4380_523_reception.go", "Client.InboundVia"},
		{"internal/peer/rfc4380_523_reception.go", "Client.inbound"},
		{"internal/peer/rfc4380_523_reception.go", "Client.direct"},     // cases 1 to 3, 5 and 6
		{"internal/peer/rfc4380_528_discovery.go", "Client.Discovered"}, // case 4
		{"internal/peer/rfc4380_523_reception.go", "Client.learn"},
		{"internal/peer/rfc4380_523_reception.go", "Client.fromServer"},
		{"internal/peer/table.go", "Table.Incoming"}, // case 1 for workers
	}},
	{"5.2.4", []place{
		{"internal/peer/rfc4380_524_transmission.go", "Client.Outbound"},
		{"internal/peer/rfc4380_524_transmission.go", "Client.refuse"},
		{"internal/peer/rfc4380_524_transmission.go", "Client.try"},        // case 2
		{"internal/peer/rfc4380_524_transmission.go", "Client.tryBubbles"}, // cases 3 and 5
		{"internal/peer/table.go", "Table.Outgoing"},                       // case 1 for workers
		{"internal/peer/peer.go", "Peer.valid"},
	}},
	{"5.2.5", []place{{file: "qualify"}, {"internal/peer/client.go", "Client.SetAddress"}}},
	{"5.2.6", []place{
		{"internal/peer/rfc4380_526_bubbles.go", "search.nextBubble"},
		{"internal/peer/rfc4380_526_bubbles.go", "search.exhausted"},
		{"internal/peer/rfc4380_526_bubbles.go", "Client.sendBubbles"},
		{"internal/peer/rfc4380_526_bubbles.go", "Client.sendDirect"},
		{"internal/peer/rfc4380_526_bubbles.go", "Client.sendIndirect"},
	}},
	{"5.2.7", []place{{file: "qualify"}}},
	{"5.2.8", []place{
		{"internal/peer/rfc4380_528_discovery.go", "Client.announce"},
		{"internal/peer/rfc4380_528_discovery.go", "Client.Discovered"},
	}},
	{"5.2.9", []place{
		{"internal/peer/rfc4380_529_connectivity.go", "Client.test"},
		{"internal/peer/rfc4380_529_connectivity.go", "Client.answersTest"},
		{"internal/peer/rfc4380_529_connectivity.go", "Client.holdForTest"},
	}},
	{"5.2.10", []place{{file: "qualify"}}},
	{"5.4", []place{{"internal/peer/rfc4380_54_relay.go", "Relay"}}},
	{"5.4.1", []place{
		{"internal/peer/rfc4380_54_relay.go", "Relay.Outbound"},
		{"internal/peer/rfc4380_54_relay.go", "Relay.carry"},
		{"internal/peer/rfc4380_54_relay.go", "Relay.try"}, // case 3
		{"internal/peer/table.go", "Table.Outgoing"},       // case 1 for workers
	}},
	{"5.4.2", []place{
		{"internal/peer/rfc4380_54_relay.go", "Relay.Inbound"},
		{"internal/peer/rfc4380_54_relay.go", "Relay.fromStranger"},
		{"internal/peer/table.go", "Table.Incoming"},
	}},
	{"5.4.3", []place{{"internal/peer/rfc4380_523_reception.go", "Client.fromServersRelay"}}}, // at the client of such a server
}

// place is a declaration in a file. Without a name it is any of the files in a folder.
type place struct{ file, name string }

// Each section of RFC 4380 §5.2 and §5.4 is found where the table says.
func TestSections(t *testing.T) {
	sources := readSources(t)
	for _, s := range sections {
		for _, p := range s.places {
			if !slices.ContainsFunc(sources, func(file source) bool { return p.cites(file, s.section) }) {
				t.Errorf("§%s: %s has no comment on %q that cites it", s.section, p.file, p.name)
			}
		}
	}
}

// cites reports whether the comment of the declaration in a file cites a section.
func (p place) cites(file source, section string) bool {
	if file.name != p.file && file.folder != p.file {
		return false
	}
	citation := regexp.MustCompile(`§` + regexp.QuoteMeta(section) + `(?:[^\d.]|\.\D|\.?$)`)
	for _, d := range file.syntax.Decls {
		name, doc := declared(d)
		if (p.name == "" || p.name == name) && citation.MatchString(strings.TrimSpace(doc.Text())) {
			return true
		}
	}
	return false
}

// declared returns the name of a function, a method or a type, and its comment.
func declared(d ast.Decl) (name string, doc *ast.CommentGroup) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return d.Name.Name, d.Doc
		}
		receiver := d.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		return receiver.(*ast.Ident).Name + "." + d.Name.Name, d.Doc
	case *ast.GenDecl:
		if spec, ok := d.Specs[0].(*ast.TypeSpec); ok {
			return spec.Name.Name, d.Doc
		}
	}
	return "", nil
}
