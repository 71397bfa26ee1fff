package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/bench/command"
)

// TestMain is the clients, too: they are this program again.
func TestMain(m *testing.M) {
	if os.Getenv("CENTRE_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestQuick: every change reaches every process in order, every instance is
// found by both, every registration arrives and goes; run fails otherwise.
func TestQuick(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-out", "-"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12 measurements, none lost", "follows 20 instances of 5 services", "| go-zero |", "20 registrations at once"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestMisuse(t *testing.T) {
	for _, args := range [][]string{{"-x"}, {"more"}, {"-be", "nobody"}} {
		err := run(context.Background(), args, nil, io.Discard, io.Discard)
		if code, _ := command.Verdict("centre", err); code != 2 {
			t.Errorf("%q: exit %d, %v", args, code, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{1, 2, 3, 4}
	if quantile(v, 0.5) != 3 || quantile(v, 1) != 4 || quantile(nil, 0.5) != 0 || median([]float64{3, 1, 2}) != 2 {
		t.Error("quantiles")
	}
}
