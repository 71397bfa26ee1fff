package ingest_test

import (
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/store"
)

// Only the records that were picked go to the watchers; all are kept.
func TestPick(t *testing.T) {
	p := start(t, func(r *ingest.Receiver) {
		r.Pick = func(l store.Log) bool { return l.Attrs["surefoot.finding"] != "" }
	})
	for _, findings := range []int{0, 2} {
		ld := plog.NewLogs()
		records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		for n := range 5 {
			l := records.AppendEmpty()
			l.Body().SetStr("picked or not")
			if n < findings {
				l.Attributes().PutStr("surefoot.finding", "heap")
			}
		}
		if _, err := plogotlp.NewGRPCClient(p.conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(ld)); err != nil {
			t.Fatal(err)
		}
		select {
		case b := <-p.Out:
			if len(b.Logs) != findings || findings == 0 || len(b.Spans) != 0 || b.At.IsZero() {
				t.Errorf("%d findings: %+v", findings, b)
			}
		default:
			if findings > 0 {
				t.Error("nothing went out")
			}
		}
	}
	kept, err := p.db.Logs().Search(t.Context(), store.LogQuery{Contains: "picked"})
	if err != nil || len(kept) != 10 {
		t.Errorf("%d kept, %v", len(kept), err)
	}
}
