package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/surefoot-go/surefoot/safe"
)

// setupError is a mistake outside the program's code: the environment or the
// settings.
type setupError struct{ error }

func (e setupError) Unwrap() error { return e.error }

// errSignal is the cause of a stop by signal.
type errSignal struct{ os.Signal }

func (e errSignal) Error() string { return "signal " + e.Signal.String() }

// Main is Run for a program's main function: it stops on SIGINT and SIGTERM,
// exits the process with 130 at the second one, makes the service's logger
// slog's default, and prints a failure as one line on standard error. It
// returns the exit code: 0 after a clean stop, 1 after a failure, 2 if the
// service could not start for its settings or its environment, such as a taken
// port.
func (s *Service) Main() int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, stop := context.WithCancelCause(context.Background())
	watch, unwatch := context.WithCancel(context.Background())
	watcher := safe.Go(watch, "signals", func(ctx context.Context) error {
		select {
		case sig := <-signals:
			stop(errSignal{sig})
		case <-ctx.Done():
			return nil
		}
		select {
		case <-signals:
			os.Exit(130) // 128 + SIGINT, the shell's convention
		case <-ctx.Done():
		}
		return nil
	})
	slog.SetDefault(s.Observe().Log)
	err := s.Run(ctx)
	unwatch()
	<-watcher.Done()
	stop(nil)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if _, ok := errors.AsType[setupError](err); ok || errors.Is(err, syscall.EADDRINUSE) {
		return 2
	}
	return 1
}
