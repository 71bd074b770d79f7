package manual

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

type grammar struct {
	Run run `cmd:"" help:"Run."`
	Map struct {
		File string `arg:"" help:"It's a file."`
	} `cmd:"" help:"Map."`
	Inner struct{} `cmd:"" hidden:"" help:"Nothing for people."`
}

type run struct {
	Server  []string `required:"" example:"host.example" placeholder:"HOST" help:"Server."`
	Port    uint16   `help:"Port."`
	Rate    int      `default:"1000" help:"Rate (${default})."`
	Level   string   `default:"info" help:"Level."`
	Confine bool     `negatable:"" default:"true" help:"Confine."`
	Quick   bool     `help:"Switch."`
	Ranges  []string `help:"Ranges."`
	Config  string   `help:"File."`
	Secret  string   `hidden:"" help:"Nothing for people."`
}

func (run) Help() string { return "It runs.\nOn and on.\n\n    test run --x\n    .test" }

func model(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := kong.New(new(grammar), kong.Name("teredo-test"), kong.Description("Test program: runs 'tests'."))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

func TestSample(t *testing.T) {
	_, got, _ := strings.Cut(Sample(model(t).Children[0]), "\n\n")
	want := `# Server.
# This key is required.
#server = ["host.example"]

# Port.
#port = 0

# Rate (1000).
#rate = 1000

# Level.
#level = "info"

# Confine.
#confine = true

# Switch.
#quick = false

# Ranges.
#ranges = []
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPage(t *testing.T) {
	page := Page{Program: model(t), Version: "v1", Date: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}.String()
	for _, want := range []string{
		".TH TEREDO\\-TEST 8 2026-01-02 \"v1\" \"Teredo suite\"\n",
		".SH \"NAME\"\nteredo\\-test \\- Test program\n",
		"\nTest program: runs \\(aqtests\\(aq.\n",
		"\nIt runs. On and on.\n",
		".nf\ntest run \\-\\-x\n\\&.test\n.fi\n",
		".B \"\\-\\-[no\\-]confine\"\nConfine.\n",
		".I \"<file>\"\nIt\\(aqs a file.\n",
		"\\fBteredo\\-relay\\fR(8)",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in:\n%s", want, page)
		}
	}
	if strings.Contains(page, "Nothing for people") {
		t.Error("it tells of what is hidden")
	}
}
