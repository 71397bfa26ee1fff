package shop_test

import (
	"bytes"
	"context"
	"go/build"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/shop"
)

func TestMainRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dsn := filepath.Join(t.TempDir(), "x.db")
	missing := filepath.Join(t.TempDir(), "none", "x.db")
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"shipping", nil, 2, "there is no program"},
		{"order", []string{"--help"}, 0, "-payment-v2"},
		{"order", []string{"--speed", "9"}, 2, "speed"},
		{"order", []string{"now"}, 2, `unexpected argument "now"`},
		{"order", []string{"--addr", "nowhere"}, 2, "--addr \"nowhere\" must be host:port"},
		{"gateway", []string{"--user", "127.0.0.1:1"}, 2, "must be a URL"},
		{"gateway", []string{"--dsn", dsn}, 2, "dsn"},
		{"user", []string{"--dsn", missing, "--otlp", "none"}, 2, "check --dsn"},
		{"user", []string{"--dsn", "mysql://u:secret@h/d", "--otlp", "none"}, 2, "check --dsn"},
		{"user", []string{"--dsn", dsn, "--otlp", "none", "--addr", taken.Addr().String()}, 2, "pass another --addr"},
		{"order", []string{"--dsn", dsn + "o", "--otlp", "none", "--etcd", "none", "--addr", taken.Addr().String()}, 2, "pass another --addr"},
		{"bank", []string{"--dsn", missing}, 2, "check --dsn"},
		{"bank", []string{"--dsn", dsn + "b", "--addr", taken.Addr().String()}, 2, "pass another --addr"},
		{"bank", []string{"--dsn", dsn + "b", "--addr", "127.0.0.1:0", "--admin", taken.Addr().String()}, 2, "pass another --admin"},
		{"warehouse", []string{"--dsn", dsn + "w", "--addr", taken.Addr().String()}, 2, "pass another --addr"},
	} {
		var stderr bytes.Buffer
		code := shop.Main(context.Background(), c.name, c.args, &stderr)
		text := stderr.String()
		if code != c.code || !strings.Contains(text, c.says) || strings.Contains(text, "secret") || strings.Contains(text, "goroutine") {
			t.Errorf("%s %v: exit code %d, want %d with %q:\n%s", c.name, c.args, code, c.code, c.says, text)
		}
		if last := lines(text); code == 2 && len(last) > 0 && !strings.HasPrefix(last[len(last)-1], "surefoot shop") {
			t.Errorf("%s %v: not one clear line:\n%s", c.name, c.args, text)
		}
	}
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

func TestFlagsFromTheEnvironment(t *testing.T) {
	t.Setenv("SHOP_ADDR", "nowhere")
	var stderr bytes.Buffer
	if code := shop.Main(context.Background(), "warehouse", nil, &stderr); code != 2 || !strings.Contains(stderr.String(), "nowhere") {
		t.Errorf("SHOP_ADDR was not read: %d %s", code, &stderr)
	}
	stderr.Reset()
	if code := shop.Main(context.Background(), "warehouse", []string{"--addr", "flag"}, &stderr); code != 2 || !strings.Contains(stderr.String(), `"flag"`) {
		t.Errorf("a flag must win over the environment: %d %s", code, &stderr)
	}
}

// TestTheOutsideWorldIsOutside: bank and warehouse use nothing of ours.
func TestTheOutsideWorldIsOutside(t *testing.T) {
	for _, dir := range []string{"bank", "warehouse"} {
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Imports {
			if strings.Contains(i, ".") && i != "modernc.org/sqlite" {
				t.Errorf("%s imports %s", dir, i)
			}
		}
	}
}
