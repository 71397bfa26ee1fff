package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/errs"
)

func TestBadSettingsAreRefusedBeforeAnythingStarts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		demo Demo
		kind errs.Kind
		says string
	}{
		{"no binary", Demo{}, errs.Invalid, "name the surefoot binary"},
		{"unknown story", Demo{Exe: "x", Story: "flood"}, errs.Invalid, "bank-down, bank-slow, bad-release, leak"},
		{"low port", Demo{Exe: "x", PortBase: 80}, errs.Invalid, "--port-base"},
		{"high port", Demo{Exe: "x", PortBase: 65530}, errs.Invalid, "--port-base"},
		{"absurd rate", Demo{Exe: "x", Rate: 1e6}, errs.Invalid, "orders per second"},
		{"folder is a file", Demo{Exe: "x", Dir: file}, errs.FailedPrecondition, "--dir"},
		{"port taken", Demo{Exe: "x", PortBase: port}, errs.FailedPrecondition, fmt.Sprintf("port %d is taken", port)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.demo.Out = &out
			err := c.demo.Run(context.Background())
			if err == nil {
				t.Fatal("no error")
			}
			e := errs.From(err)
			if e.Kind() != c.kind || !strings.Contains(e.Message(), c.says) {
				t.Errorf("got %s %q, want %s with %q", e.Code(), e.Message(), c.kind.ID(), c.says)
			}
			if out.Len() > 0 {
				t.Errorf("told something before refusing: %q", out.String())
			}
		})
	}
}

// A process that ends by itself ends the story, with its last words.
func TestADeadProcessEndsTheStory(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "surefoot")
	script := "#!/bin/sh\necho 'port 4317 is taken; choose another with --otlp-grpc' >&2\nexit 2\n"
	if err := os.WriteFile(exe, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out bytes.Buffer
	err := Demo{Exe: exe, Headless: true, PortBase: freeBase(t), Out: &out}.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "port 4317 is taken") {
		t.Fatalf("got %v, want the dead process's last line", err)
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// freeBase returns a port with portsUsed free ones behind it.
func freeBase(t *testing.T) int {
	t.Helper()
	for base := 27600; base < 60000; base += 100 {
		if freePorts(base) == nil {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func TestTree(t *testing.T) {
	g := graph{
		Nodes: []node{
			{Name: "bank", Kind: "external"}, {Name: "gateway", Kind: "service", Rate: 20, P99Ms: 12},
			{Name: "order", Kind: "service"}, {Name: "order.db", Kind: "database"}, {Name: "payment", Kind: "service"}, {Name: "user", Kind: "service"},
		},
		Edges: []edge{
			{From: "gateway", To: "order", Rate: 20, P99Ms: 11}, {From: "gateway", To: "user", Rate: 20, P99Ms: 1.25},
			{From: "order", To: "payment", Rate: 19.5, P99Ms: 9}, {From: "payment", To: "bank", Rate: 19.5, ErrorShare: 0.5, P99Ms: 1500},
			{From: "order", To: "order.db", Rate: 40}, {From: "bank", To: "gateway", Rate: 0.1}, // a callback: a cycle ends
			{From: "user", To: "payment", Rate: 1}, // a second caller
		},
	}
	// gateway is called by bank, so nobody is a root; the busiest end of a
	// cycle cannot be told, and nothing hangs.
	if got := tree(g, "external"); got != "" {
		t.Errorf("a graph without a root drew %q", got)
	}
	g.Edges = append(g.Edges[:5:5], g.Edges[6])
	want := `gateway                              20.0/s    0.0 %  p99 12 ms
├─ order                             20.0/s    0.0 %  p99 11 ms
│  └─ payment                        19.5/s    0.0 %  p99 9.0 ms
│     └─ bank (external)             19.5/s   50.0 %  p99 1.5 s
└─ user                              20.0/s    0.0 %  p99 1.2 ms
   └─ payment                         1.0/s    0.0 %  p99 0.0 ms
`
	if got := tree(g, "external"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The story leak knows the line by heart.
func TestTheLeakIsWhereTheStoryLooks(t *testing.T) {
	file, line, _ := strings.Cut(leakAt, ":")
	raw, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(line)
	lines := strings.Split(string(raw), "\n")
	if err != nil || n < 1 || n > len(lines) || strings.TrimSpace(lines[n-1]) != "answer <- number" {
		t.Errorf("the send that leaks is not at %s", leakAt)
	}
}

// A busy machine opens and keeps open incidents that are not the story's.
func TestABusyMachineIsNoStory(t *testing.T) {
	for _, c := range []struct {
		json       string
		open, over bool
	}{
		{`{"state":"open","symptoms":[{"metric":"error_share"}]}`, true, false},
		{`{"state":"open","symptoms":[{"metric":"goroutine_leak"},{"metric":"scheduler_latency"}]}`, true, false},
		{`{"state":"open","symptoms":[{"metric":"scheduler_latency"},{"metric":"gc_pressure"}]}`, false, true},
		{`{"state":"open","symptoms":[{"metric":"error_share","clearedAt":"2026-11-23T04:05:06Z"},{"metric":"lock_contention"}]}`, false, true},
		{`{"state":"open","symptoms":[{"metric":"error_share","clearedAt":"2026-11-23T04:05:06Z"}]}`, true, false},
		{`{"state":"open"}`, true, false},
		{`{"state":"resolved","symptoms":[{"metric":"error_share","clearedAt":"2026-11-23T04:05:06Z"}]}`, false, true},
	} {
		var i incident
		if err := json.Unmarshal([]byte(c.json), &i); err != nil {
			t.Fatal(err)
		}
		if i.open() != c.open || i.over() != c.over {
			t.Errorf("%s: open %v, over %v", c.json, i.open(), i.over())
		}
	}
}
