package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"
)

func main() {
	if scene := os.Getenv(childVariable); scene != "" {
		play(scene)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := write(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "safety:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context) error {
	out := flag.String("out", "docs/safety.md", "file to write; - for standard output")
	only := flag.String("only", "", "one line, by its id")
	list := flag.Bool("list", false, "list the lines and do nothing")
	flag.Parse()
	chosen := lines
	if *only != "" {
		chosen = nil
	}
	for _, ln := range lines {
		if *list {
			fmt.Printf("%-20s %s\n", ln.id, ln.trap)
		}
		if ln.id == *only {
			chosen = []line{ln}
		}
	}
	if *list {
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no line %q: see -list", *only)
	}
	if *only != "" && *out != "-" {
		return fmt.Errorf("a single line does not make %s: give -out -", *out)
	}
	hush()
	at, err := asked(time.Now().UTC().Format(time.DateOnly))
	if err != nil {
		return err
	}
	results, err := ask(ctx, chosen, len(libraries), func(id string) { fmt.Fprintln(os.Stderr, id) })
	if err != nil {
		return err
	}
	text := document(at, results)
	if *out == "-" {
		_, err = os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(*out, []byte(text), 0o644)
}

// hush keeps what the libraries log off the terminal.
func hush() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	silenceGozero()
	silenceKratos()
}
