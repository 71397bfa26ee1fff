package config_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	settings "github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/config"
)

// moments tells everything under a prefix as each transaction left it.
func moments(t *testing.T, kv *etcd.KV, prefix string) <-chan map[string]string {
	t.Helper()
	out := make(chan map[string]string, 64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		now := map[string]string{}
		_ = kv.Watch(t.Context(), prefix, func(e etcd.Event) { // it ends with the test
			switch e.Kind {
			case etcd.Put:
				now[e.Key] = string(e.Value)
			case etcd.Delete:
				delete(now, e.Key)
			}
			if !e.More {
				shot := map[string]string{}
				for k, v := range now {
					shot[k] = v
				}
				select {
				case out <- shot:
				default:
				}
			}
		})
	}()
	t.Cleanup(func() { <-ended })
	return out
}

func TestAPushIsCommittedInOneMoment(t *testing.T) {
	s, ctx := store(t), t.Context()
	base, err := s.Put(ctx, settings.Key("order", "client/bank"), []byte(`{"timeout":"1s"}`), 0, li)
	if err != nil {
		t.Fatal(err)
	}
	seen := moments(t, s.KV, settings.Prefix+"order/")
	p, err := s.StartPush(ctx, "order", "client/bank", "check", `{"timeout":"2s"}`, config.PushPlan{Share: 50}, li)
	if err != nil || p.Base != base || p.Before != `{"timeout":"1s"}` || p.Began() != p.Revision {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err = s.StartPush(ctx, "order", "client/bank", "check", `{"timeout":"3s"}`, config.PushPlan{}, li)
	want(t, err, errs.Conflict, config.PushUnderWay)
	if list, err := s.List(ctx, settings.Prefix+"order/"); err != nil || len(list) != 1 {
		t.Errorf("a push is listed as a setting: %v, %v", list, err)
	}
	it, err := s.KV.Get(ctx, settings.PushKey("order", "client/bank"))
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := settings.DecodePush(it.Value); err != nil || shown.ID != p.ID || shown.Value != p.Value || it.Revision != p.Revision {
		t.Errorf("processes read %+v at %d, %v", shown, it.Revision, err)
	}

	first := p.Revision
	p.Stage, p.Instances = "one", []string{"a"}
	stale := p
	if p, err = s.MovePush(ctx, p); err != nil || p.Began() != first || p.Revision <= first {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err = s.MovePush(ctx, stale)
	want(t, err, errs.Conflict, "")
	if again, err := s.PushOf(ctx, "order", "client/bank"); err != nil || again.Stage != "one" || again.Revision != p.Revision || again.Began() != first || again.Plan.Share != 50 {
		t.Errorf("a plane that starts anew reads %+v, %v", again, err)
	}

	p, err = s.CommitPush(ctx, p, "all well", "一切正常")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(ctx, settings.Key("order", "client/bank"))
	if err != nil || string(got.Value) != `{"timeout":"2s"}` || got.Revision != p.Revision {
		t.Fatalf("%s, %v", got.Value, err)
	}
	// No watcher has ever seen the old value without the push.
	begun := false
	for committed := false; !committed; {
		select {
		case now := <-seen:
			_, pushed := now[settings.PushKey("order", "client/bank")]
			committed = now[settings.Key("order", "client/bank")] == `{"timeout":"2s"}`
			begun = begun || pushed
			if begun && committed == pushed {
				t.Errorf("half a commit was seen: %v", now)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the commit was not seen")
		}
	}
	if list, err := s.Pushes(ctx, "order"); err != nil || len(list) != 1 || list[0].State != config.Committed || list[0].Reason != "all well" || list[0].Ended.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestAPushIsTakenBack(t *testing.T) {
	s, ctx := store(t), t.Context()
	p, err := s.StartPush(ctx, "order", "limits", "check", `1`, config.PushPlan{}, li)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = s.EndPush(ctx, p, config.RolledBack, "errors", "出错", config.Author{By: config.Automat, Why: "errors"}); err != nil {
		t.Fatal(err)
	}
	_, err = s.KV.Get(ctx, settings.PushKey("order", "limits"))
	want(t, err, errs.NotFound, "")
	_, err = s.EndPush(ctx, p, config.Aborted, "", "", li)
	want(t, err, errs.Conflict, "")
	_, err = s.StartPush(ctx, "order", "limits", "check", `"`+strings.Repeat("<", 60<<10)+`"`, config.PushPlan{}, li)
	want(t, err, errs.Invalid, "") // written as JSON it is longer than processes read

	// A setting that somebody changed meanwhile is not written over.
	if p, err = s.StartPush(ctx, "order", "limits", "check", `1`, config.PushPlan{}, li); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, settings.Key("order", "limits"), []byte("7"), 0, li); err != nil {
		t.Fatal(err)
	}
	_, err = s.CommitPush(ctx, p, "", "")
	want(t, err, errs.Conflict, "")
	for range 25 { // of those that ended, 20 stay
		if p, err = s.PushOf(ctx, "order", "limits"); err != nil {
			t.Fatal(err)
		}
		if _, err = s.EndPush(ctx, p, config.Aborted, "no", "不", li); err != nil {
			t.Fatal(err)
		}
		if _, err = s.StartPush(ctx, "order", "limits", "check", `1`, config.PushPlan{}, li); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.Pushes(ctx, ""); err != nil || len(list) != 21 || list[0].State != config.Running {
		t.Errorf("%d pushes, %v", len(list), err)
	}
}

func TestHistoryIsTrimmedAndLeadsBack(t *testing.T) {
	s, ctx := store(t), t.Context()
	key := settings.Key("order", "client")
	if _, err := s.Put(ctx, key+"/bank", []byte(`{}`), config.Any, li); err != nil { // below it: another key
		t.Fatal(err)
	}
	var revs []int64
	for i := range 25 {
		rev, err := s.Put(ctx, key, fmt.Append(nil, i), config.Any, li)
		if err != nil {
			t.Fatal(err)
		}
		revs = append(revs, rev)
	}
	past, err := s.History(ctx, "order", "client")
	if err != nil || len(past) != 20 || past[0].Value != "24" || past[0].Revision != revs[24] || past[19].Value != "5" || past[0].By != "li" {
		t.Fatalf("%d entries, %+v, %v", len(past), past, err)
	}
	if below, err := s.History(ctx, "order", "client/bank"); err != nil || len(below) != 1 {
		t.Errorf("%+v, %v", below, err)
	}
	it, err := s.Back(ctx, "order", "client", revs[10], li)
	if err != nil || string(it.Value) != "10" {
		t.Fatalf("%s, %v", it.Value, err)
	}
	if it, err = s.Back(ctx, "order", "client", 0, li); err != nil || string(it.Value) != "24" {
		t.Fatalf("%s, %v", it.Value, err)
	}
	_, err = s.Back(ctx, "order", "client", revs[0], li)
	want(t, err, errs.NotFound, "")
	if err := s.Delete(ctx, key, config.Any, li); err != nil {
		t.Fatal(err)
	}
	if it, err = s.Back(ctx, "order", "client", 0, li); err != nil || string(it.Value) != "24" {
		t.Fatalf("after a deletion: %s, %v", it.Value, err)
	}
}

func TestValuesAreCheckedBeforeTheyAreWritten(t *testing.T) {
	s, ctx := store(t), t.Context()
	schema, err := tree.SchemaOf(struct {
		Max      int             `json:"max"`
		Wait     time.Duration   `json:"wait"`
		Password settings.Secret `json:"password"`
	}{Max: 3})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.KV.PutIf(ctx, settings.SchemaPrefix+"order/limits", raw, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, value, bad string }{
		{"limits", `{"max":5,"wait":"2s"}`, ""},
		{"limits", "{\n\"max\": 5,\n\"wiat\": \"2s\"}", "line 3"},
		{"limits", `{"max":"five"}`, "max"},
		{"limits", `{"max":5`, "line 1"},
		{"limits", `{"wait":2}`, "wait"},
		{"limits", `{"password":{"env":"ORDER_PASSWORD"}}`, ""},
		{"limits", `{"password":"hunter2"}`, "a secret does not go into the config centre"},
		{"log", `{"level":"DEBUG"}`, ""},
		{"log", `{"level":"loud"}`, "level"},
		{"sampling", `{"ratio":0.5}`, ""},
		{"sampling", `{"ratio":5}`, "0 to 1"},
		{"door", `{"max":100}`, ""},
		{"door", `{"maxx":100}`, "maxx"},
		{"client/bank", `{"attemptTimeout":"1s"}`, ""},
		{"client/bank", `{"attemptTimeout":1}`, "attemptTimeout"},
		{"balance/bank", `{"nothing":1}`, "nothing"},
		{"rollout", `{"maxErrorShare":2}`, "0 to 1"},
		{"whatever", `[1,2]`, ""},
		{".push/limits", `1`, "no part of it"},
		{"a//b", `1`, "no part of it"},
	} {
		_, err := s.CheckValue(ctx, "order", c.key, []byte(c.value))
		if c.bad == "" {
			if err != nil {
				t.Errorf("%s %s: %v %v", c.key, c.value, err, errs.From(err).Details())
			}
			continue
		}
		said := ""
		if err != nil {
			said = errs.From(err).Message() + "\n" + strings.Join(errs.From(err).Details(), "\n")
		}
		if errs.KindOf(err) != errs.Invalid || !strings.Contains(said, c.bad) {
			t.Errorf("%s %s: %q, want %q", c.key, c.value, said, c.bad)
		}
		if strings.Contains(said, "hunter2") {
			t.Errorf("a secret is told: %q", said)
		}
		_, err = s.Put(ctx, settings.Key("order", c.key), []byte(c.value), config.Any, li)
		want(t, err, errs.Invalid, "")
	}
	if _, err := s.Put(ctx, settings.Key("order", "limits"), []byte(`{"max":5,"wait":"2s"}`), 0, li); err != nil {
		t.Fatal(err)
	}
	diff, err := s.CheckValue(ctx, "order", "limits", []byte(`{"wait":"2s","max":6}`))
	if err != nil || !slices.Equal(diff, []tree.Change{{Path: "max", Before: "5", After: "6"}}) {
		t.Errorf("%v, %v", diff, err)
	}
}
