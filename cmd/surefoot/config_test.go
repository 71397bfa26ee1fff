package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigMisuse: what cannot be meant is said in one line, with exit code 2,
// before anybody is asked: no control plane runs here.
func TestConfigMisuse(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(t.TempDir(), "big.json")
	if err := os.WriteFile(big, []byte(strings.Repeat("1", 70<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, says string }{
		{"", "what to do with settings"},
		{"put order k 1", `unknown verb "put"`},
		{"status", "takes a SERVICE"},
		{"status a b", "takes a SERVICE"},
		{"get order", "a SERVICE and a KEY"},
		{"push order k --by ana", "one VALUE"},
		{"push order k 1 --file x --by ana", "one VALUE"},
		{"push order k 1", "--by NAME"},
		{"rollback order k", "--by NAME"},
		{"abort order k --by ", "--by NAME"},
		{"push order k 1 --by ana --share 0", "--share takes 1 to 100"},
		{"push order k 1 --by ana --for 10ms", "--for takes 1s to 1h"},
		{"push order k @" + filepath.Join(t.TempDir(), "none.json") + " --by ana", "there is no file"},
		{"check order k --file " + empty, "the value is empty"},
		{"check order k --file " + big, "at most 65536 bytes"},
		{"check order k --file " + t.TempDir(), "cannot be read"},
		{"diff order k --to x", "--to takes a revision"},
	} {
		args := append([]string{"config"}, strings.Split(c.args, " ")...)
		if c.args == "" {
			args = args[:1]
		}
		code, out, errs := surefoot(t, args...)
		if code != 2 || out != "" || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want %q", c.args, code, errs, c.says)
		}
	}
	for _, args := range [][]string{{"config", "status", "order"}, {"instances"}} {
		code, _, errs := surefoot(t, append(args, "--server", "http://127.0.0.1:1")...)
		if code != 1 || !strings.Contains(errs, "no control plane answers") {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
	if code, _, errs := surefoot(t, "instances", "a", "b"); code != 2 || !strings.Contains(errs, "takes one service") {
		t.Errorf("instances: exit %d, %q", code, errs)
	}
}
