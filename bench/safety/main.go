package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func main() {
	if scene := os.Getenv(childVariable); scene != "" {
		play(scene)
	}
	command.Main("safety", write)
}

func write(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("safety", flag.ContinueOnError)
	out := f.String("out", "docs/safety.md", "file to write; - for standard output")
	only := f.String("only", "", "one line, by its id")
	list := f.Bool("list", false, "list the lines and do nothing")
	if err := command.Parse(f, args); err != nil {
		return err
	}
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
		return command.Misuse{Err: fmt.Errorf("no line %q: -list shows them", *only)}
	}
	if *only != "" && *out != "-" {
		return command.Misuse{Err: fmt.Errorf("a single line does not make %s: give -out -", *out)}
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
