package config_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
)

type limits struct {
	Max  int
	Wait time.Duration
	Only []string
}

func (l limits) Validate() error {
	if l.Max < 0 {
		return errors.New("max must not be negative")
	}
	return nil
}

// rig is a Config on two stores in memory.
type rig struct {
	files, centre *drivertest.Memory
	c             *config.Config
	log           bytes.Buffer
	stop          func()
}

func newRig(instance, lastGood string) *rig {
	r := &rig{files: &drivertest.Memory{}, centre: &drivertest.Memory{}}
	r.c = &config.Config{Service: "order", Instance: instance, Files: r.files, Centre: r.centre, LastGood: lastGood,
		Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(&r.log, nil))}}
	return r
}

func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.c.Run(ctx) }()
	synctest.Wait()
	r.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
}

func (r *rig) put(m *drivertest.Memory, key, value string) int64 {
	var b []byte
	if value != "" {
		b = []byte(value)
	}
	rev := m.Commit(map[string][]byte{"surefoot/config/order/" + key: b})
	synctest.Wait()
	return rev
}

func TestLayers(t *testing.T) {
	t.Setenv("ORDER_LIMITS_WAIT", "3s")
	synctest.Test(t, func(t *testing.T) {
		r := newRig("o-1", "")
		v := config.Bind(r.c, "limits", limits{Max: 1, Wait: time.Second, Only: []string{"a"}})
		r.put(r.files, "limits", `{"max": 2, "wait": "2s", "only": ["b", "c"]}`)
		if got := v.Get(); got.Max != 1 || got.Wait != time.Second {
			t.Errorf("before Load: %+v", got)
		}
		r.run(t)
		defer r.stop()
		want := func(max int, wait time.Duration, only string) {
			t.Helper()
			if got := v.Get(); got.Max != max || got.Wait != wait || strings.Join(got.Only, "") != only {
				t.Errorf("%+v, want %d %s %s", got, max, wait, only)
			}
		}
		want(2, 3*time.Second, "bc") // the environment is over the file
		r.put(r.centre, "limits", `{"max": 4, "only": ["z"], "wait": null}`)
		want(4, 3*time.Second, "z")
		r.put(r.centre, "limits", `{"wait": "9s"}`)
		want(2, 9*time.Second, "bc")
		r.put(r.files, "limits", `{"max": 5}`)
		want(5, 9*time.Second, "a")
		r.put(r.centre, "limits", "")
		want(5, 3*time.Second, "a")
		if st := r.c.Status()[0]; st.Revision != 0 || st.Checked != 0 || fmt.Sprint(st.Layers) != "[file environment]" {
			t.Errorf("%+v", st)
		}
	})
}

func TestABadValueNeverReplacesAGoodOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newRig("o-1", dir)
		v := config.Bind(r.c, "limits", limits{Max: 1})
		good := r.put(r.centre, "limits", `{"max": 7}`)
		r.run(t)
		for _, c := range []struct{ value, says string }{
			{`{"mxa": 9}`, "line 1: unknown key"},
			{`{"max": -1}`, "max must not be negative"},
			{`{`, "ends too early"},
			{`{"wait": 2}`, "a duration is written like"},
			{strings.Repeat(" ", 70<<10) + "{}", "bytes"},
		} {
			bad := r.put(r.centre, "limits", c.value)
			st := r.c.Status()[0]
			if v.Get().Max != 7 || st.Revision != good || st.Refused != bad || !strings.Contains(st.Reason, c.says) {
				t.Errorf("%.20s: %+v %+v", c.value, v.Get(), st)
			}
		}
		r.put(r.files, "limits", `{"max": "many"}`) // breaks while it runs
		if st := r.c.Status()[0]; v.Get().Max != 7 || !strings.Contains(st.FileBad, "must be a number") {
			t.Errorf("%+v %+v", v.Get(), st)
		}
		r.stop()
		if n := strings.Count(r.log.String(), "config refused"); n != 6 {
			t.Errorf("%d refusals told: %s", n, r.log.String())
		}

		// A restart while the centre is away, and then holds what is bad.
		again := newRig("o-1", dir)
		again.centre.Away(true)
		w := config.Bind(again.c, "limits", limits{Max: 1})
		again.run(t)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := again.c.Status()[0]; w.Get().Max != 7 || !st.LastGood || st.Revision != good || again.c.Age() < 3*time.Second {
			t.Errorf("after a restart: %+v %+v", w.Get(), st)
		}
		bad := again.put(again.centre, "limits", `{"max": -1}`)
		again.centre.Away(false)
		synctest.Wait()
		if st := again.c.Status()[0]; w.Get().Max != 7 || st.Refused != bad {
			t.Errorf("a bad value after a restart: %+v %+v", w.Get(), st)
		}
		now := again.put(again.centre, "limits", `{"max": 8}`)
		if st := again.c.Status()[0]; w.Get().Max != 8 || st.Revision != now || st.LastGood || st.Refused != 0 {
			t.Errorf("mended: %+v %+v", w.Get(), st)
		}
		again.stop()
	})
}

func TestDamagedLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "order.lastgood.json"), []byte(`{"service":"order","items":[{"key":"limits","value":"{}"}],"sum":"00"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig("o-1", dir)
		r.centre.Away(true)
		v := config.Bind(r.c, "limits", limits{Max: 1})
		r.run(t)
		time.Sleep(3 * time.Second)
		r.stop()
		if v.Get().Max != 1 || !strings.Contains(r.log.String(), "damaged") {
			t.Errorf("%+v %s", v.Get(), r.log.String())
		}
	})
}

func push(id, value string, share int, instances ...string) string {
	b, _ := json.Marshal(config.Push{ID: id, Value: value, Share: share, Instances: instances, By: "ana"})
	return string(b)
}

func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("o-1", "")
		v := config.Bind(r.c, "limits", limits{Max: 1})
		var seen []int
		v.OnChange(func(before, after limits) { seen = append(seen, before.Max*1000+after.Max) })
		r.run(t)
		old := r.put(r.centre, "limits", `{"max": 2}`)
		first := r.put(r.centre, ".push/limits", push("p", `{"max": 3}`, 0))
		if st := r.c.Status()[0]; v.Get().Max != 2 || st.Checked != first || st.Revision != old {
			t.Errorf("checked only: %+v %+v", v.Get(), st)
		}
		r.put(r.centre, ".push/limits", push("p", `{"max": 3}`, 0, "o-2"))
		second := r.put(r.centre, ".push/limits", push("p", `{"max": 3}`, 0, "o-2", "o-1"))
		if st := r.c.Status()[0]; v.Get().Max != 3 || st.Revision != second || !st.Pushed {
			t.Errorf("chosen: %+v %+v", v.Get(), st)
		}
		r.put(r.centre, ".push/limits", "")
		if st := r.c.Status()[0]; v.Get().Max != 2 || st.Revision != old || st.Pushed {
			t.Errorf("taken back: %+v %+v", v.Get(), st)
		}
		r.put(r.centre, ".push/limits", push("q", `{"max": 4}`, 100))
		r.centre.Commit(map[string][]byte{"surefoot/config/order/.push/limits": nil, "surefoot/config/order/limits": []byte(`{"max": 4}`)})
		synctest.Wait()
		bad := r.put(r.centre, ".push/limits", push("r", `{"max": -4}`, 100))
		if st := r.c.Status()[0]; v.Get().Max != 4 || st.Refused != bad || st.Checked >= bad {
			t.Errorf("refused: %+v %+v", v.Get(), st)
		}
		r.put(r.centre, ".push/limits", "")
		if st := r.c.Status()[0]; st.Refused != 0 {
			t.Errorf("nothing is refused any more: %+v", st)
		}
		r.stop()
		if got := fmt.Sprint(seen); got != "[1002 2003 3002 2004]" { // and none when the push was committed
			t.Errorf("changes %s", got)
		}
	})
}

func TestShares(t *testing.T) {
	for _, share := range []int{0, 1, 25, 100} {
		n := 0
		for i := range 10000 {
			id := fmt.Sprint("instance-", i)
			p := config.Push{ID: "p-77", Share: share}
			if p.Chosen(id) {
				n++
				if p.Share = share + 10; !p.Chosen(id) {
					t.Fatal("one left when the share grew")
				}
			}
		}
		if off := n - share*100; off < -200 || off > 200 {
			t.Errorf("share %d chose %d of 10000", share, n)
		}
	}
}

func TestLoadRefusesWhatIsAtHand(t *testing.T) {
	t.Setenv("ORDER_B_MAX", "many")
	r := newRig("", "")
	r.put2("a", "{\n  \"mxa\": 1\n}")
	config.Bind(r.c, "a", limits{})
	config.Bind(r.c, "b", limits{})
	config.Bind(r.c, "d", limits{Max: -1})
	err := r.c.Load(t.Context())
	if errs.KindOf(err) != errs.Invalid {
		t.Fatal(err)
	}
	all := strings.Join(errs.From(err).Details(), "|")
	for _, says := range []string{`file of a: line 2: unknown key "mxa"; did you mean max?`, "environment, b: the variable ORDER_B_MAX must be a number", "default of d: max must not be negative"} {
		if !strings.Contains(all, says) {
			t.Errorf("%s; want %s", all, says)
		}
	}
	if err := (&config.Config{}).Load(t.Context()); errs.KindOf(err) != errs.Invalid {
		t.Error(err)
	}
}

func (r *rig) put2(key, value string) {
	r.files.Commit(map[string][]byte{"surefoot/config/order/" + key: []byte(value)})
}

func TestSecrets(t *testing.T) {
	t.Setenv("DB_PASSWORD", "hunter2")
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("tok3n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		type db struct{ Password, Token config.Secret }
		dir := t.TempDir()
		r := newRig("", dir)
		v := config.Bind(r.c, "db", db{})
		r.put(r.files, "db", `{"password": {"env": "DB_PASSWORD"}, "token": "plain3"}`)
		r.put(r.centre, "db", fmt.Sprintf(`{"token": {"file": %q}}`, path))
		r.run(t)
		if got := v.Get(); got.Password.Reveal() != "hunter2" || got.Token.Reveal() != "tok3n" {
			t.Errorf("%q %q", got.Password.Reveal(), got.Token.Reveal())
		}
		bad := r.put(r.centre, "db", `{"token": "s3cret"}`)
		if st := r.c.Status()[0]; st.Refused != bad || v.Get().Token.Reveal() != "tok3n" {
			t.Errorf("%+v", st)
		}
		r.stop()
		kept, _ := os.ReadFile(filepath.Join(dir, "order.lastgood.json"))
		encoded, _ := tree.Encode(v.Get())
		asJSON, _ := json.Marshal(v.Get())
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "db", v.Get(), "p", v.Get().Password)
		all := fmt.Sprintf("%v %+v %#v %s %d", v.Get(), v.Get(), v.Get().Password, v.Get().Password, v.Get().Token) +
			r.log.String() + string(kept) + string(encoded) + string(asJSON) + logged.String() + fmt.Sprint(r.c.Status())
		for _, s := range []string{"hunter2", "tok3n", "plain3", "s3cret"} {
			if strings.Contains(all, s) {
				t.Errorf("%s is shown: %s", s, all)
			}
		}
		if len(kept) == 0 || !strings.Contains(all, "[secret]") {
			t.Error("nothing was looked at")
		}
	})
}

func TestCallbacksAndLateBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("", "")
		v := config.Bind(r.c, "limits", limits{})
		n := 0
		v.OnChange(func(_, _ limits) { panic("of the callback") })
		stop := v.OnChange(func(_, _ limits) { n++ })
		r.put(r.centre, "late", `{"max": 5}`)
		r.run(t)
		r.put(r.centre, "limits", `{"max": 1}`)
		r.put(r.centre, "limits", `{"max":1 }`) // the same
		stop()
		r.put(r.centre, "limits", `{"max": 2}`)
		if n != 1 || v.Get().Max != 2 {
			t.Errorf("%d calls, %+v", n, v.Get())
		}
		if late := config.Bind(r.c, "late", limits{Max: 1}); late.Get().Max != 5 {
			t.Errorf("bound late: %+v", late.Get())
		}
		if _, err := r.centre.Put(t.Context(), "surefoot/schema/order/limits", nil, 0); errs.KindOf(err) != errs.Conflict {
			t.Errorf("no schema was published: %v", err)
		}
		r.stop()
		if !strings.Contains(r.log.String(), "a callback failed") {
			t.Error(r.log.String())
		}
	})
	for _, bind := range []func(*config.Config){
		func(c *config.Config) { config.Bind(c, "a", 1); config.Bind(c, "a", 1) },
		func(c *config.Config) { config.Bind(c, ".push/a", 1) },
		func(c *config.Config) { config.Bind(c, "a//b", 1) },
		func(c *config.Config) { config.Bind(c, "a", func() {}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			bind(&config.Config{Service: "x"})
		}()
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	v := config.Fixed(limits{Max: 3})
	if n := testing.AllocsPerRun(1000, func() { _ = v.Get().Max; _ = v.Load().Max }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var zero config.Value[int]
	if zero.Get() != 0 || *zero.Load() != 0 {
		t.Error("zero")
	}
}

func BenchmarkGet(b *testing.B) {
	b.Run("word", func(b *testing.B) {
		v, sum := config.Fixed(3), 0
		for b.Loop() {
			sum += v.Get()
		}
		_ = sum
	})
	b.Run("struct", func(b *testing.B) {
		v, sum := config.Fixed(limits{Max: 3}), 0
		for b.Loop() {
			sum += v.Load().Max
		}
		_ = sum
	})
}

func ExampleBind() {
	c := &config.Config{Service: "order", EnvPrefix: "-", Centre: &drivertest.Memory{}} // in a service: &etcd.Settings{KV: kv}
	limits := config.Bind(c, "limits", struct{ Max int }{20})
	fmt.Println(c.Load(context.Background()), limits.Get().Max)
	// Output: <nil> 20
}
