package main_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// exe is the binary under test, built once.
var exe string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "surefoot-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	exe = filepath.Join(dir, "surefoot")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building surefoot: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// surefoot runs the binary to its end, in English unless args say otherwise.
func surefoot(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), "LANG=en_US.UTF-8", "LC_ALL=", "SUREFOOT_SERVER=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("surefoot %q: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "help", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and read the difference\n%s", path, got)
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"", "demo", "up", "topology", "route", "incidents", "config", "instances", "shop", "version"} {
		for _, lang := range []string{"en", "zh"} {
			args := []string{"--lang", lang, "--help"}
			if name != "" {
				args = []string{name, "--help", "--lang", lang}
			}
			code, out, errs := surefoot(t, args...)
			if code != 0 || errs != "" {
				t.Errorf("%q: exit %d, stderr %q", args, code, errs)
			}
			file := strings.TrimPrefix(name+"."+lang, ".")
			golden(t, file, out)
			for _, line := range strings.Split(out, "\n") {
				if len([]rune(line)) > 110 {
					t.Errorf("%s: a line of %d letters: %s", file, len([]rune(line)), line)
				}
			}
		}
	}
}

func TestHelpIsTheSameHoweverAsked(t *testing.T) {
	_, want, _ := surefoot(t, "up", "--help")
	for _, args := range [][]string{{"help", "up"}, {"up", "-h"}, {"up", "-help"}, {"up", "--dir", "x", "--help"}} {
		if code, got, _ := surefoot(t, args...); code != 0 || got != want {
			t.Errorf("%q: exit %d\n%s", args, code, got)
		}
	}
	_, want, _ = surefoot(t, "--help")
	for _, args := range [][]string{{"help"}, {"-h"}} {
		if code, got, _ := surefoot(t, args...); code != 0 || got != want {
			t.Errorf("%q: exit %d\n%s", args, code, got)
		}
	}
	if code, out, errs := surefoot(t); code != 2 || out != "" || errs != want {
		t.Errorf("nothing at all: exit %d, %q", code, out)
	}
	cmd := exec.Command(exe, "up", "--help")
	cmd.Env = append(os.Environ(), "LC_ALL=", "LC_MESSAGES=", "LANG=zh_CN.UTF-8")
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "用法") {
		t.Errorf("LANG=zh_CN: %v %.40s", err, out)
	}
}

// Misuse is one line that says what is wrong and where to read on; exit 2.
func TestMisuse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(t.TempDir(), "data")
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"tpology"}, `surefoot: unknown command "tpology"; did you mean 'topology'? See 'surefoot --help'`},
		{[]string{"frobnicate"}, `surefoot: unknown command "frobnicate"; see 'surefoot --help'`},
		{[]string{"--frob"}, `surefoot: unknown flag "--frob"; see 'surefoot --help'`},
		{[]string{"--lang", "zh", "frobnicate"}, `surefoot: 未知命令 "frobnicate"；参见 'surefoot --help'`},
		{[]string{"up", "--prot", "1"}, `surefoot up: unknown flag --prot; see 'surefoot up --help'`},
		{[]string{"up", "--dir"}, `surefoot up: flag --dir needs a value; see 'surefoot up --help'`},
		{[]string{"up", "now"}, `surefoot up: takes no argument, got "now"; see 'surefoot up --help'`},
		{[]string{"up", "--log-level", "loud"}, `surefoot up: flag --log-level does not take "loud" (debug, info, warn or error); see 'surefoot up --help'`},
		{[]string{"up", "--dir", fresh, "--addr", taken.Addr().String()}, `surefoot up: ` + taken.Addr().String() + ` is taken by another program; stop it or choose another address with --addr`},
		{[]string{"up", "--dir", fresh, "--addr", "127.0.0.1:0", "--otlp-grpc", taken.Addr().String()}, `choose another address with --otlp-grpc`},
		{[]string{"up", "--dir", fresh, "--addr", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--etcd", taken.Addr().String()}, `choose another address with --etcd`},
		{[]string{"up", "--dir", filepath.Join(file, "x")}, `cannot write to folder ` + filepath.Join(file, "x") + ` (not a directory); choose another with --dir`},
		{[]string{"up", "--dir", fresh, "--addr", "0.0.0.0:0"}, `0.0.0.0:0 can be reached from other machines and nothing here asks for a password; use a loopback address for --addr, or say --allow-remote`},
		{[]string{"up", "--dir", fresh, "--addr", "7600"}, `7600 is not an address to listen on (missing port in address); use HOST:PORT for --addr`},
		{[]string{"up", "--dir", fresh, "--catalog", file}, `cannot read folder ` + file + ` (not a directory); correct --catalog`},
		{[]string{"topology", "--format", "png"}, `surefoot topology: flag --format does not take "png" (mermaid, dot or json); see 'surefoot topology --help'`},
		{[]string{"topology", "--server", "here"}, `surefoot topology: flag --server does not take "here"`},
		{[]string{"route"}, `surefoot route: what to do with routes? list, set or clear`},
		{[]string{"route", "drop", "pay"}, `unknown verb "drop"`},
		{[]string{"route", "clear", "pay"}, `surefoot route: clear needs --by NAME: a change has an author`},
		{[]string{"route", "set", "pay", "--by", "ana"}, `set needs --stable VERSION`},
		{[]string{"route", "set", "pay", "--by", "ana", "--stable", "v1", "--canary", "v2"}, `set needs --weight PERCENT with --canary`},
		{[]string{"route", "set", "--by", "ana", "--stable", "v1"}, `set takes one service`},
		{[]string{"route", "set", "pay", "--match", "tier"}, `flag --match does not take "tier" (want KEY=VALUE)`},
		{[]string{"route", "set", "pay", "--weight", "much"}, `flag --weight does not take "much"`},
		{[]string{"demo", "--story", "cold-fusion"}, `cold-fusion`},
		{[]string{"demo", "--for", "soon"}, `flag --for does not take "soon"`},
		{[]string{"demo", "--port-base", "99999"}, `--port-base 99999`},
		{[]string{"shop"}, `surefoot shop: which service?`},
		{[]string{"shop", "casino"}, `casino`},
		{[]string{"version", "2"}, `takes no argument`},
	}
	for _, c := range tests {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, out, errs := surefoot(t, c.args...)
			if code != 2 || out != "" {
				t.Errorf("exit %d, stdout %q", code, out)
			}
			if strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.says) || strings.Contains(errs, "goroutine") {
				t.Errorf("stderr %q, want one line with %q", errs, c.says)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + ln.Addr().String()
	_ = ln.Close()
	code, _, errs := surefoot(t, "topology", "--server", url)
	want := "surefoot topology: no control plane answers at " + url + "; start one with 'surefoot up', or name another with --server\n"
	if code != 1 || errs != want {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := surefoot(t, "version")
	if code != 0 || !strings.HasPrefix(out, "surefoot ") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d, %q", code, out)
	}
	if _, again, _ := surefoot(t, "--version"); again != out {
		t.Errorf("--version says %q", again)
	}
}

func ports(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		out = append(out, ln.Addr().String())
	}
	return out
}

func upArgs(dir string, a []string) []string {
	return []string{"up", "--dir", dir, "--addr", a[0], "--otlp-grpc", a[1], "--otlp-http", a[2], "--etcd", a[3], "--etcd-peer", a[4]}
}

// up starts a control plane with its own TMPDIR and waits for its ready line.
func up(t *testing.T, dir, tmp string, a []string) (*exec.Cmd, *safe.Task) {
	t.Helper()
	cmd := exec.Command(exe, upArgs(dir, a)...)
	cmd.Env = append(os.Environ(), "LANG=C", "LC_ALL=", "TMPDIR="+tmp)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	task := safe.Go(context.Background(), "up", func(context.Context) error {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case ready <- lines.Text():
			default:
			}
		}
		return cmd.Wait()
	})
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = task.Wait() })
	select {
	case line := <-ready:
		if !strings.Contains(line, "console http://"+a[0]) || !strings.Contains(line, "OTLP gRPC "+a[1]) {
			t.Errorf("it said %q", line)
		}
		t.Logf("ready after %s: %s", time.Since(start).Round(time.Millisecond), line)
	case <-task.Done():
		t.Fatalf("%v\n%s", task.Wait(), stderr.String())
	}
	return cmd, task
}

// Ctrl-C leaves nothing: no process, no port, no temporary file.
func TestUpStopsCleanly(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			dir, tmp, a := filepath.Join(t.TempDir(), "data"), t.TempDir(), ports(t, 5)
			cmd, task := up(t, dir, tmp, a)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			limit := time.NewTimer(15 * time.Second)
			defer limit.Stop()
			select {
			case <-task.Done():
			case <-limit.C:
				t.Fatal("still running after 15 s")
			}
			if err := task.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			for _, addr := range a {
				ln, err := net.Listen("tcp", addr)
				if err != nil {
					t.Errorf("still taken: %v", err)
					continue
				}
				_ = ln.Close()
			}
			left, err := os.ReadDir(tmp)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind in TMPDIR: %v %v", left, err)
			}
		})
	}
}

func TestASecondCopyIsRefusedAndTheFirstGoesOn(t *testing.T) {
	dir, a := filepath.Join(t.TempDir(), "data"), ports(t, 5)
	up(t, dir, t.TempDir(), a)
	code, _, errs := surefoot(t, upArgs(dir, ports(t, 5))...)
	want := fmt.Sprintf("surefoot up: folder %s is in use by another surefoot; stop it or choose another folder with --dir\n", dir)
	if code != 2 || errs != want {
		t.Errorf("exit %d, %q", code, errs)
	}
	resp, err := http.Get("http://" + a[0] + "/readyz")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("the first one: %v %v", resp, err)
	}
}

// The commands that ask talk to a real plane.
func TestAskingCommands(t *testing.T) {
	dir, a := filepath.Join(t.TempDir(), "data"), ports(t, 5)
	up(t, dir, t.TempDir(), a)
	url := "http://" + a[0]
	tests := []struct {
		args []string
		code int
		out  string // of stdout, or of stderr when code is not 0
	}{
		{[]string{"topology"}, 0, "flowchart LR"},
		{[]string{"topology", "--format", "dot"}, 0, "digraph"},
		{[]string{"topology", "--format", "json"}, 0, `"nodes":[]`},
		{[]string{"incidents"}, 0, ""},
		{[]string{"incidents", "--json"}, 0, "[]"},
		{[]string{"incidents", "inc-none"}, 1, "there is no report on this incident yet"},
		{[]string{"route", "list"}, 0, ""},
		{[]string{"route", "set", "pay", "--stable", "v1", "--canary", "v2", "--match", "tier=premium", "--weight", "100", "--by", "ana"}, 0, "pay  v1, and v2 to 100 % of tier=premium"},
		{[]string{"route", "list"}, 0, "pay  v1, and v2 to 100 % of tier=premium"},
		{[]string{"route", "list", "--lang", "zh"}, 0, "pay  v1，并由 v2 服务 tier=premium 的 100 %"},
		{[]string{"route", "set", "pay", "--stable", "v1", "--canary", "v1", "--weight", "1", "--by", "ana"}, 2, "canary and stable are both"},
		{[]string{"route", "clear", "pay", "--by", "ana"}, 2, "no version of this service is pending review"},
		{[]string{"route", "list", "--json"}, 0, `"service":"pay"`},
	}
	for _, c := range tests {
		code, out, errs := surefoot(t, append(c.args, "--server", url)...)
		got := out
		if c.code != 0 {
			got = errs
		}
		if code != c.code || !strings.Contains(got, c.out) || c.code != 0 && strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: exit %d, %q %q, want exit %d and %q", c.args, code, out, errs, c.code, c.out)
		}
	}
}

// Damaged data is one line that names the folder, never a stack trace, and
// what is not damaged is left alone.
func TestDamagedData(t *testing.T) {
	dir, a := filepath.Join(t.TempDir(), "data"), ports(t, 5)
	cmd, task := up(t, dir, t.TempDir(), a)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = task.Wait()
	for _, c := range []struct{ part, file string }{
		{"spans", "MANIFEST-*"}, {"etcd", "member/snap/db"}, {"series", "chunks_head"},
	} {
		t.Run(c.part, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			found, _ := filepath.Glob(filepath.Join(copied, c.part, c.file))
			if len(found) == 0 {
				t.Fatalf("no %s in %s", c.file, c.part)
			}
			for _, f := range found {
				if err := os.RemoveAll(f); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, bytes.Repeat([]byte("garbage!"), 4096), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, _, errs := surefoot(t, upArgs(copied, a)...)
			lines := strings.Split(strings.TrimSpace(errs), "\n")
			last := lines[len(lines)-1]
			if code != 2 || !strings.HasPrefix(last, "surefoot up: the data in "+filepath.Join(copied, c.part)+" cannot be used") || strings.Contains(errs, "goroutine ") {
				t.Errorf("exit %d\n%s", code, errs)
			}
			t.Log(last)
		})
	}
}
