package ingest_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
	"github.com/surefoot-go/surefoot/server/store/tsdb"
)

const childDir = "SUREFOOT_TEST_INGEST_CHILD"

// TestMain turns the test binary into the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

func openEngines(dir string) (*pebble.Store, *tsdb.Store, error) {
	db, err := pebble.Open(filepath.Join(dir, "spans"), pebble.Options{Reserve: -1, Memtable: 1 << 20})
	if err != nil {
		return nil, nil, err
	}
	series, err := tsdb.Open(filepath.Join(dir, "series"), tsdb.Options{Reserve: -1})
	return db, series, err
}

func child(dir string) {
	db, series, err := openEngines(dir)
	if err == nil {
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
			r := &ingest.Receiver{Spans: db.Spans(), Logs: db.Logs(), Series: series}
			s := grpc.NewServer(r.GRPCOptions()...)
			r.RegisterGRPC(s)
			fmt.Println(ln.Addr())
			err = s.Serve(ln)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}

// What a sender was told is kept is there after a kill -9 in the middle of
// everything, three times over on the same folder.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var next atomic.Uint64
	var spans, logs, points sync.Map // numbers that were acknowledged
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient(strings.TrimSpace(addr), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var acks atomic.Int64
		enough := make(chan struct{})
		var once sync.Once
		for w := range 6 {
			wg.Go(func() {
				for {
					n := next.Add(1)
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					var err error
					var seen *sync.Map
					switch w % 3 {
					case 0:
						seen = &spans
						_, err = ptraceotlp.NewGRPCClient(conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(numbered(n, at)))
					case 1:
						seen = &logs
						ld := plog.NewLogs()
						l := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
						l.SetTimestamp(pcommon.NewTimestampFromTime(at))
						l.Body().SetStr(fmt.Sprint("n", n))
						_, err = plogotlp.NewGRPCClient(conn).Export(ctx, plogotlp.NewExportRequestFromLogs(ld))
					case 2:
						seen = &points
						md := pmetric.NewMetrics()
						m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
						m.SetName("kill")
						p := m.SetEmptyGauge().DataPoints().AppendEmpty()
						p.SetTimestamp(pcommon.NewTimestampFromTime(at))
						p.SetIntValue(int64(n))
						p.Attributes().PutInt("n", int64(n))
						_, err = pmetricotlp.NewGRPCClient(conn).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(md))
					}
					cancel()
					if err != nil {
						return // the child is dead
					}
					seen.Store(n, true)
					if w%3 == 0 && acks.Add(1) == 100 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(60 * time.Second):
			t.Fatal("no 100 acknowledged spans in a minute")
		}
		if err := cmd.Process.Kill(); err != nil { // SIGKILL, with requests in flight
			t.Fatal(err)
		}
		_ = cmd.Wait()
		wg.Wait()
		_ = conn.Close()

		db, series, err := openEngines(dir)
		if err != nil {
			t.Fatal(err)
		}
		count := func(m *sync.Map, have func(uint64) bool) (all, missing int) {
			m.Range(func(k, _ any) bool {
				if all++; !have(k.(uint64)) {
					missing++
				}
				return true
			})
			return all, missing
		}
		ctx := t.Context()
		kept := map[string]bool{}
		records, err := db.Logs().Search(ctx, store.LogQuery{Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range records {
			kept[l.Body] = true
		}
		res, err := series.Query(ctx, "kill", at)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range res.Series {
			kept["p"+s.Labels["n"]] = true
		}
		for _, c := range []struct {
			what string
			m    *sync.Map
			have func(uint64) bool
		}{
			{"spans", &spans, func(n uint64) bool {
				got, err := db.Spans().Trace(ctx, store.TraceID(traceOf(n)))
				return err == nil && len(got) == 1
			}},
			{"log records", &logs, func(n uint64) bool { return kept[fmt.Sprint("n", n)] }},
			{"points", &points, func(n uint64) bool { return kept[fmt.Sprint("p", n)] }},
		} {
			all, missing := count(c.m, c.have)
			if missing > 0 || all == 0 {
				t.Errorf("round %d: %d of %d acknowledged %s are missing", round, missing, all, c.what)
			}
			t.Logf("round %d: %d acknowledged %s, %d missing", round, all, c.what, missing)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := series.Close(); err != nil {
			t.Error(err)
		}
	}
}

func traceOf(n uint64) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:], n)
	id[15] = 1
	return id
}

func numbered(n uint64, at time.Time) ptrace.Traces {
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(traceOf(n))
	s.SetSpanID(pcommon.SpanID{1})
	s.SetName("kill")
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Duration(n) * time.Millisecond)))
	return td
}
