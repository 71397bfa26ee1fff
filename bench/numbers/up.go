package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Goals of issue 2.
const (
	goalReady = 3   // s
	goalIdle  = 200 // MB
)

// starts is how often the control plane is started.
const starts = 5

// loopback lets `surefoot up` choose free ports.
var loopback = []string{
	"--addr", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0",
	"--etcd", "127.0.0.1:0", "--etcd-peer", "127.0.0.1:0", "--lang", "en",
}

func alone(ctx context.Context, b *bench) ([]figure, error) {
	exe, err := b.binary(ctx)
	if err != nil {
		return nil, err
	}
	var ready, idle []float64
	for i := range starts {
		wait := time.Duration(0)
		if i == starts-1 {
			wait = b.idle
		}
		t, u, err := b.start(ctx, exe, fmt.Sprintf("up%d", i), wait)
		if err != nil {
			return nil, err
		}
		ready = append(ready, t.Seconds())
		b.say("   ready after %s s, resident %d MB", number(t.Seconds()), u.rss>>20)
		if wait > 0 && u.rss > 0 {
			idle = append(idle, float64(u.rss)/(1<<20))
		}
	}
	figures := []figure{below("`surefoot up`, from its start in an empty folder until it says it is ready", ready, goalReady, "s", "surefoot up --dir $(mktemp -d)")}
	if len(idle) > 0 {
		figures = append(figures, below(fmt.Sprintf("resident memory (VmRSS) after %v without telemetry", b.idle), idle, goalIdle, "MB", "grep VmRSS /proc/PID/status"))
	}
	return figures, nil
}

// start runs the control plane in a fresh folder, and returns how long it took
// to be ready and its memory after idling.
func (b *bench) start(ctx context.Context, exe, name string, idle time.Duration) (time.Duration, usage, error) {
	ctx, cancel := context.WithTimeout(ctx, idle+time.Minute)
	defer cancel()
	cmd := b.command(ctx, exe, append([]string{"up", "--dir", filepath.Join(b.dir, name)}, loopback...)...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, usage{}, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, usage{}, err
	}
	took, u, err := func() (time.Duration, usage, error) {
		line, err := bufio.NewReader(out).ReadString('\n')
		took := time.Since(begun)
		url, ok := readyAt(line)
		if !ok {
			return 0, usage{}, errors.Join(fmt.Errorf("surefoot up does not say that it is ready but %q", line), err)
		}
		if err := answers(ctx, url+"/readyz"); err != nil {
			return 0, usage{}, err
		}
		select {
		case <-time.After(idle):
		case <-ctx.Done():
			return 0, usage{}, ctx.Err()
		}
		return took, memory(cmd.Process.Pid), nil
	}()
	_ = cmd.Process.Signal(os.Interrupt) // Wait says what became of it
	if err = errors.Join(err, cmd.Wait()); err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return took, u, err
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
