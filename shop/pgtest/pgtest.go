// Package pgtest starts a throw-away PostgreSQL server for tests, on a free
// loopback port and in a temporary folder, and stops it by its process id.
//
//	dsn := pgtest.Start(t) // skips t, loudly, when PostgreSQL is not installed
//
// PostgreSQL refuses to run as root; there the server runs as the user nobody.
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

// Start returns the DSN of an empty database on a server of its own that lives
// as long as t. It takes two or three seconds.
func Start(t testing.TB) string {
	t.Helper()
	postgres, initdb := find("postgres"), find("initdb")
	if postgres == "" || initdb == "" {
		t.Skip("SKIPPED, NOT TESTED: PostgreSQL (postgres and initdb) is not installed")
	}
	dir, err := os.MkdirTemp("", "surefoot-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		as.Credential = nobody(t)
		if err := os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(initdb, "--pgdata", data, "--username", "shop", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	init.SysProcAttr, init.Dir, init.Env = as, dir, append(os.Environ(), "HOME="+dir)
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := freePort(t)
	var log bytes.Buffer
	server := exec.Command(postgres, "-D", data, "-p", strconv.Itoa(port), "-k", dir, "-c", "listen_addresses=127.0.0.1",
		"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40")
	server.SysProcAttr, server.Dir, server.Env = as, dir, append(os.Environ(), "HOME="+dir)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatalf("postgres: %v", err)
	}
	ended := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { server.Wait(); close(ended) })
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT) // PostgreSQL's fast shutdown
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			server.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("postgres said:\n%s", &log)
		}
	})
	dsn := fmt.Sprintf("postgres://shop@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := answers(dsn, ended); err != nil {
		t.Fatalf("postgres does not answer: %v", err)
	}
	return dsn
}

// Database makes a new, empty database on the server of dsn and returns its DSN.
func Database(t testing.TB, dsn, name string) string {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	var port string
	if err := db.QueryRow("SHOW port").Scan(&port); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("postgres://shop@127.0.0.1:%s/%s?sslmode=disable", port, name)
}

// answers polls until the server takes a connection, has ended, or 20s are over.
func answers(dsn string, ended <-chan struct{}) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("it ended at once: %w", err)
		case <-ctx.Done():
			return err
		}
	}
}

func find(tool string) string {
	if path, err := exec.LookPath(tool); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + tool) // where Debian keeps it
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

func nobody(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: PostgreSQL does not run as root, and there is no user nobody: %v", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
