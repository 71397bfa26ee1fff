// Command safety asks every library the same questions: does the trap spring
// in your default configuration? It answers each by an experiment with real
// servers and clients on loopback and writes docs/safety.md.
//
//	go run ./bench/safety            # every line, every library
//	go run ./bench/safety -only post-retried -out -
//	go run ./bench/safety -list
//
// A line is one clause of section 6 of docs/design.md. Each library is set up as
// its own documentation tells a newcomer to; where it has an option that makes
// it safe, the note names it. A cell is what its experiment saw, never an
// opinion: change the library and the table changes. It does not measure speed:
// see bench/performance.
package main
