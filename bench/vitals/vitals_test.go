package main

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		play(text)
	}
	os.Exit(m.Run())
}

func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes some seconds; the second pass does it")
	}
	var out, log strings.Builder
	if err := run(t.Context(), []string{"-quick", "-out", "-"}, &out, &log); err != nil {
		t.Fatal(err, log.String())
	}
	for _, want := range []string{"Found by the watch: 1 of 1", "vitalstest 0", "ab-ba", "| order after "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
