package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/zeromicro/go-zero/core/threading"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/service"
)

// atStart is every goroutine there is when the packages this program imports
// have been initialized and its own main has not begun.
var atStart = goroutines()

func goroutines() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// starts looks for goroutines that the init functions of a library's packages
// have started, and names those packages.
func starts(owner ...string) experiment {
	return func(*lab) answer {
		found := map[string]bool{}
		for block := range strings.SplitSeq(atStart, "\n\n") {
			_, creator, _ := strings.Cut(block, "created by ")
			for _, o := range owner {
				if strings.HasPrefix(creator, o) {
					dir, name := path.Split(strings.Fields(creator)[0])
					name, _, _ = strings.Cut(name, ".")
					found[strings.TrimPrefix(dir+name, o)] = true
				}
			}
		}
		return unless(len(found) == 0, "no goroutine of its packages runs before main",
			"goroutines run before main, started by "+strings.Join(slices.Sorted(maps.Keys(found)), ", "))
	}
}

// childVariable names the scene that a child process is to play.
const childVariable = "SAFETY_CHILD"

// scenes panic in a goroutine that the library was asked to run. Whoever is
// alive afterwards says so.
var scenes = map[string]func() error{
	"surefoot": func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		bug := func(context.Context) error { panic("bug") }
		var p *safe.Panic
		if err := safe.Go(ctx, "bug", bug).Wait(); !errors.As(err, &p) {
			return fmt.Errorf("no panic: %v", err)
		}
		lis := "127.0.0.1:0"
		s := &service.Service{Name: "lab", Addr: lis, Drain: -1, Workers: []service.Worker{{Name: "bug", Run: bug}}}
		s.Run(ctx)
		return nil
	},
	"go-zero": func() error {
		threading.GoSafe(func() { panic("bug") })
		time.Sleep(100 * time.Millisecond)
		return nil
	},
	"bare": func() error { // what the others are measured against
		time.AfterFunc(0, func() { panic("bug") }) // a goroutine of its own
		time.Sleep(100 * time.Millisecond)
		return nil
	},
	"failsafe-go": func() error {
		failsafe.With(retrypolicy.NewWithDefaults[any]()).RunAsync(func() error { panic("bug") }).Error()
		return nil
	},
}

const alive = "still alive"

// play is what a child process does.
func play(scene string) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := scenes[scene](); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(alive)
	os.Exit(0)
}

func survives(scene, how string) experiment {
	return func(l *lab) answer {
		self, err := os.Executable()
		l.must(err)
		cmd := exec.CommandContext(l.ctx, self)
		cmd.Env = append(os.Environ(), childVariable+"="+scene)
		var out, bad bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &bad
		err = cmd.Run()
		if err != nil && !strings.Contains(bad.String(), "panic: bug") {
			l.must(fmt.Errorf("%w: %s%s", err, out.String(), bad.String()))
		}
		return unless(strings.Contains(out.String(), alive), how+": a panic there became an error or a log line",
			how+": a panic there ended the process")
	}
}
