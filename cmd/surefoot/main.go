// Command surefoot runs the control plane, tells the demo's stories, and asks
// a running control plane what it knows.
//
// Run surefoot --help, or surefoot COMMAND --help. Exit codes: 0 all went
// well; 1 something failed while running; 2 it could not start: a wrong flag,
// a taken port, a folder that cannot be written.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal must be able to end a stop that hangs.
	context.AfterFunc(ctx, stop)
	return dispatch(ctx, commands(), args, stdio{out: stdout, err: stderr, lang: language(args, os.Getenv)})
}

func commands() []command {
	return []command{
		demoCommand(), upCommand(), topologyCommand(), routeCommand(), incidentsCommand(),
		configCommand(), instancesCommand(),
		shopCommand(), versionCommand(),
	}
}
