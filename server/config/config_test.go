package config_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/config"
	"github.com/surefoot-go/surefoot/server/coord"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var li = config.Author{By: "li", Why: "a test"}

func store(t *testing.T) *config.Store {
	t.Helper()
	s, err := coord.Start(t.Context(), coord.Settings{Dir: t.TempDir(), Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &config.Store{KV: s.Client(), Log: quiet}
}

func route(weight int) canary.Route {
	return canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Match: map[string]string{"tier": "premium"}, Weight: weight}
}

func want(t *testing.T, err error, kind errs.Kind, id string) {
	t.Helper()
	if err == nil || errs.KindOf(err) != kind || id != "" && errs.From(err).Code() != id {
		t.Errorf("error %v, want %v %s", err, kind, id)
	}
}

func TestRollbackStaysUntilAPersonClearsIt(t *testing.T) {
	s, ctx := store(t), t.Context()
	first, err := s.PutRoute(ctx, route(10), 0, li)
	if err != nil || first.Revision == 0 || first.Review != nil {
		t.Fatalf("%+v, %v", first, err)
	}
	changed, err := s.Rollback(ctx, "payment", "v2", "error share 25 %")
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	got, err := s.Route(ctx, "payment")
	if err != nil || got.Weight != 0 || got.Review == nil || got.Review.Version != "v2" || got.Review.Reason != "error share 25 %" || got.Review.Since.IsZero() {
		t.Fatalf("%+v, %v", got, err)
	}
	if changed, err := s.Rollback(ctx, "payment", "v2", "again"); err != nil || changed {
		t.Errorf("second rollback: %v, %v", changed, err)
	}

	// Nobody brings it back, by no way there is.
	forged := route(10)
	forged.Review = &canary.Review{Version: "v9", Reason: "look over there"}
	swapped := canary.Route{Service: "payment", Stable: "v2"}
	for name, r := range map[string]canary.Route{"weight": route(1), "with a forged mark": forged, "as the stable version": swapped} {
		_, err := s.PutRoute(ctx, r, config.Any, li)
		want(t, err, errs.Conflict, config.PendingReview)
		if err != nil && !strings.Contains(errs.From(err).Message(), "v2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Other changes are possible, and the mark outlives them: another canary in
	// between, and its rollback too.
	for _, step := range []struct {
		canary string
		weight int
	}{{"v2", 0}, {"", 0}, {"v3", 50}} {
		r := route(step.weight)
		r.Canary = step.canary
		got, err := s.PutRoute(ctx, r, config.Any, li)
		if err != nil || got.Review == nil || got.Review.Version != "v2" {
			t.Fatalf("%+v: %+v, %v", step, got, err)
		}
	}
	if _, err := s.Rollback(ctx, "payment", "v3", "bad too"); err != nil {
		t.Fatal(err)
	}
	_, err = s.PutRoute(ctx, route(10), config.Any, li)
	want(t, err, errs.Conflict, config.PendingReview)

	// A person looks.
	for _, by := range []string{"", "  ", "surefoot", strings.Repeat("x", 200), "a\x00b"} {
		_, err := s.ClearReview(ctx, "payment", by, "fine")
		want(t, err, errs.Invalid, "")
	}
	got, err = s.ClearReview(ctx, "payment", "wang", "v3 is gone for good") // the route's own canary first
	if err != nil || got.Review == nil || got.Review.Version != "v2" {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = s.PutRoute(ctx, route(10), config.Any, li)
	want(t, err, errs.Conflict, config.PendingReview)
	if got, err = s.ClearReview(ctx, "payment", "wang", "fixed"); err != nil || got.Review != nil || got.Weight != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = s.ClearReview(ctx, "payment", "wang", "")
	want(t, err, errs.FailedPrecondition, "")
	if got, err = s.PutRoute(ctx, route(10), got.Revision, li); err != nil || got.Weight != 10 || got.Review != nil {
		t.Errorf("%+v, %v", got, err)
	}

	log, err := s.Audit(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for i, c := range log {
		who = append(who, c.By)
		if c.Key != "surefoot/route/payment" || c.Revision == 0 || c.At.IsZero() || c.After == "" || i+1 < len(log) && c.Before != log[i+1].After {
			t.Errorf("%+v", c)
		}
	}
	if fmt.Sprint(who) != "[li wang wang surefoot li li li surefoot li]" {
		t.Errorf("audit trail by %v", who)
	}
	if log[0].Revision != got.Revision {
		t.Errorf("revision %d, want %d", log[0].Revision, got.Revision)
	}
}

func TestRoutesAreCheckedAndPutOnlyIfUnchanged(t *testing.T) {
	s, ctx := store(t), t.Context()
	bad := route(101)
	bad.Stable = ""
	_, err := s.PutRoute(ctx, bad, config.Any, li)
	want(t, err, errs.Invalid, "")
	if d := errs.From(err).Details(); len(d) != 2 {
		t.Errorf("details %q", d)
	}
	_, err = s.PutRoute(ctx, route(1), config.Any, config.Author{})
	want(t, err, errs.Invalid, "")
	_, err = s.Route(ctx, "payment")
	want(t, err, errs.NotFound, "")
	_, err = s.Route(ctx, "a/b")
	want(t, err, errs.Invalid, "")
	_, err = s.Rollback(ctx, "payment", "v2", "")
	want(t, err, errs.NotFound, "")
	_, err = s.ClearReview(ctx, "payment", "li", "")
	want(t, err, errs.NotFound, "")

	a, err := s.PutRoute(ctx, route(1), 0, li)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.PutRoute(ctx, route(2), 0, li)
	want(t, err, errs.Conflict, "conflict")
	b, err := s.PutRoute(ctx, route(2), a.Revision, li)
	if err != nil || b.Revision <= a.Revision {
		t.Fatal(b, err)
	}
	_, err = s.PutRoute(ctx, route(3), a.Revision, li)
	want(t, err, errs.Conflict, "conflict")
	if changed, err := s.Rollback(ctx, "payment", "v7", "not there"); err != nil || changed {
		t.Errorf("rollback of a version that takes no traffic: %v, %v", changed, err)
	}
	if all, err := s.Routes(ctx); err != nil || !reflect.DeepEqual(all, []canary.Route{b}) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestSettings(t *testing.T) {
	s, ctx := store(t), t.Context()
	s.Check = map[string]func(string, []byte, []byte) error{
		config.Prefix: func(string, []byte, []byte) error { return nil },
		config.Prefix + "order/": func(key string, before, after []byte) error {
			if after != nil && !json.Valid(after) {
				return errors.Join(errors.New("not JSON"), fmt.Errorf("%d bytes before", len(before)))
			}
			return nil
		},
	}
	const key = config.Prefix + "order/limit"
	rev, err := s.Put(ctx, key, []byte("20"), 0, li)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(ctx, key, []byte("{"), config.Any, li)
	want(t, err, errs.Invalid, "")
	if d := errs.From(err).Details(); len(d) != 2 || d[1] != "2 bytes before" {
		t.Errorf("details %q", d)
	}
	_, err = s.Put(ctx, key, []byte("30"), rev+1, li)
	want(t, err, errs.Conflict, "")
	if _, err := s.Put(ctx, key, []byte(""), rev, li); err == nil {
		t.Error("the empty value is no JSON")
	}
	if it, err := s.Get(ctx, key); err != nil || string(it.Value) != "20" || it.Revision != rev {
		t.Errorf("%+v, %v", it, err)
	}
	for _, k := range []string{"", "x", config.Prefix, config.Prefix + "order", config.Prefix + "order/", config.Prefix + "/x", config.Prefix + "a/../b",
		config.Prefix + "a/b\n", config.RoutePrefix + "payment", "surefoot/audit/x", "surefoot/review/payment/v2", config.Prefix + strings.Repeat("x/", 400)} {
		_, err := s.Put(ctx, k, []byte("1"), config.Any, li)
		want(t, err, errs.Invalid, "")
		_, err = s.Get(ctx, k)
		want(t, err, errs.Invalid, "")
	}
	for _, v := range [][]byte{nil, []byte("\xff"), make([]byte, 1<<17)} {
		_, err := s.Put(ctx, config.Prefix+"a/b", v, config.Any, li)
		want(t, err, errs.Invalid, "")
	}
	if _, err := s.Put(ctx, config.Prefix+"a/b", []byte(`"`+strings.Repeat("ü", 5000)+`"`), config.Any, li); err != nil {
		t.Error(err)
	}
	if items, err := s.List(ctx, config.Prefix); err != nil || len(items) != 2 {
		t.Errorf("%v, %v", items, err)
	}
	_, err = s.List(ctx, "surefoot/")
	want(t, err, errs.Invalid, "")
	want(t, s.Delete(ctx, key, rev+7, li), errs.Conflict, "")
	if err := s.Delete(ctx, key, rev, li); err != nil {
		t.Error(err)
	}
	want(t, s.Delete(ctx, key, config.Any, li), errs.NotFound, "")
	log, err := s.Audit(ctx, 2)
	if err != nil || len(log) != 2 || log[0].After != "" || log[0].Before != "20" || len(log[1].After) > 8300 || !strings.HasSuffix(log[1].After, "(10002 bytes)") {
		t.Errorf("%v %+v", err, log)
	}
}

func TestAuditIsBounded(t *testing.T) {
	s, ctx := store(t), t.Context()
	s.Keep = 10
	for i := range 60 {
		if _, err := s.Put(ctx, config.Prefix+"a/b", fmt.Append(nil, i), config.Any, li); err != nil {
			t.Fatal(err)
		}
	}
	log, err := s.Audit(ctx, 0)
	if err != nil || len(log) < 10 || len(log) > 30 || log[0].After != "59" {
		t.Errorf("%d records, %v", len(log), err)
	}
}

// TestManyWriters: nobody's change is lost and the audit trail has no gaps.
func TestManyWriters(t *testing.T) {
	s, ctx := store(t), t.Context()
	if _, err := s.PutRoute(ctx, route(0), 0, li); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for done := 0; done < 5; {
				cur, err := s.Route(ctx, "payment")
				if err != nil {
					t.Error(err)
					return
				}
				cur.Weight++
				switch _, err := s.PutRoute(ctx, cur, cur.Revision, li); {
				case err == nil:
					done++
				case errs.KindOf(err) != errs.Conflict:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Route(ctx, "payment")
	log, _ := s.Audit(ctx, 0)
	if err != nil || got.Weight != 20 || len(log) != 21 {
		t.Errorf("weight %d, %d records, %v", got.Weight, len(log), err)
	}
}

func TestWatchSeesRoutesAndKeepsThemOverBadOnes(t *testing.T) {
	s := store(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan []canary.Route)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, func(r []canary.Route) {
			select {
			case seen <- r:
			case <-ctx.Done():
			}
		})
	}()
	if got := <-seen; len(got) != 0 {
		t.Errorf("%v", got)
	}
	r, err := s.PutRoute(ctx, route(5), config.Any, li)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-seen; !reflect.DeepEqual(got, []canary.Route{r}) {
		t.Errorf("%+v", got)
	}
	if _, err := s.KV.PutIf(ctx, config.RoutePrefix+"payment", []byte(`{"weight":500}`), etcd.Any); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; !reflect.DeepEqual(got, []canary.Route{r}) {
		t.Errorf("after a bad value: %+v", got)
	}
	if all, err := s.Routes(ctx); err != nil || len(all) != 0 {
		t.Errorf("unreadable route: %v, %v", all, err)
	}
	_, err = s.Rollback(ctx, "payment", "v2", "x")
	want(t, err, errs.Internal, "")
	if _, err := s.PutRoute(ctx, route(7), config.Any, li); err != nil {
		t.Errorf("writing anew: %v", err)
	}
	if got := <-seen; len(got) != 1 || got[0].Weight != 7 {
		t.Errorf("%+v", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
