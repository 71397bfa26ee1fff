package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Goals of issue 2; MB is 10^6 bytes, the stricter reading of the two.
const (
	goalBinary      = 75  // MB
	goalService     = 25  // MB
	goalCold        = 420 // s
	goalIncremental = 15  // s
)

const stripped = "go build -trimpath -ldflags='-s -w' "

// binary builds surefoot once, stripped as it is released.
func (b *bench) binary(ctx context.Context) (string, error) {
	if b.exe != "" {
		return b.exe, nil
	}
	exe := filepath.Join(b.dir, "surefoot")
	if _, err := output(b.command(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "./cmd/surefoot")); err != nil {
		return "", err
	}
	b.exe = exe
	return exe, nil
}

func sizes(ctx context.Context, b *bench) ([]figure, error) {
	exe, err := b.binary(ctx)
	if err != nil {
		return nil, err
	}
	readme, err := os.ReadFile(filepath.Join(b.root, "README.md"))
	if err != nil {
		return nil, err
	}
	source, ok := service15(string(readme))
	if !ok {
		return nil, errors.New("README.md shows no service")
	}
	src, small := filepath.Join(b.dir, "main.go"), filepath.Join(b.dir, "service")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		return nil, err
	}
	if _, err := output(b.command(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", small, src)); err != nil {
		return nil, err
	}
	var figures []figure
	for _, f := range []struct {
		name, path string
		goal       float64
		by         string
	}{
		{"`surefoot`, stripped", exe, goalBinary, stripped + "./cmd/surefoot"},
		{"the README's service in 15 lines, stripped", small, goalService, stripped + "main.go"},
	} {
		st, err := os.Stat(f.path)
		if err != nil {
			return nil, err
		}
		figures = append(figures, below(f.name, []float64{float64(st.Size()) / 1e6}, f.goal, "MB", f.by))
		b.say("   %s: %s", f.name, figures[len(figures)-1].measured)
	}
	return figures, nil
}

// changes is how often the incremental build is measured.
const changes = 3

func builds(ctx context.Context, b *bench) ([]figure, error) {
	cache := filepath.Join(b.dir, "cache")
	build := func(more ...string) (float64, error) {
		args := append([]string{"build", "-o", filepath.Join(b.dir, "built")}, more...)
		cmd := b.command(ctx, "go", append(args, "./cmd/surefoot")...)
		cmd.Env = append(os.Environ(), "GOCACHE="+cache, "GOPROXY=off") // modules must be there: the network is not ours to measure
		begun := time.Now()
		_, err := output(cmd)
		return time.Since(begun).Seconds(), err
	}
	cold, err := build()
	if err != nil {
		return nil, err
	}
	b.say("   cold: %s s", number(cold))
	var warm []float64
	for i := range changes {
		overlay, err := b.change(i)
		if err != nil {
			return nil, err
		}
		t, err := build("-overlay=" + overlay)
		if err != nil {
			return nil, err
		}
		b.say("   after a change: %s s", number(t))
		warm = append(warm, t)
	}
	return []figure{
		below("cold build of `surefoot`: empty build cache, modules downloaded", []float64{cold}, goalCold, "s", "GOCACHE=$(mktemp -d) go build ./cmd/surefoot"),
		below("the same after a change in one file of cmd/surefoot", warm, goalIncremental, "s", "go build ./cmd/surefoot"),
	}, os.RemoveAll(cache)
}

// change makes the n-th edit of a file of cmd/surefoot, as an overlay: the
// work tree stays as it is. A function is added, since a changed time or
// comment alone would not be linked anew.
func (b *bench) change(n int) (overlay string, err error) {
	file := filepath.Join(b.root, "cmd", "surefoot", "version.go")
	src, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	edited := filepath.Join(b.dir, fmt.Sprintf("version%d.go", n))
	src = fmt.Appendf(src, "\nfunc change%d() int { return %d }\n", n, n)
	if err := os.WriteFile(edited, src, 0o644); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: edited}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(b.dir, fmt.Sprintf("overlay%d.json", n))
	return overlay, os.WriteFile(overlay, list, 0o644)
}
