package canary_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/canary"
)

func route() canary.Route {
	return canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Match: map[string]string{"tier": "premium"}, Weight: 100}
}

func TestPick(t *testing.T) {
	premium := map[string]string{"tier": "premium", "city": "Bonn"}
	table := []struct {
		name   string
		edit   func(*canary.Route)
		labels map[string]string
		key    string
		want   string
	}{
		{"match", func(*canary.Route) {}, premium, "u1", "v2"},
		{"no labels", func(*canary.Route) {}, nil, "u1", "v1"},
		{"other value", func(*canary.Route) {}, map[string]string{"tier": "free"}, "u1", "v1"},
		{"one of two", func(r *canary.Route) { r.Match["city"] = "Rome" }, premium, "u1", "v1"},
		{"two of two", func(r *canary.Route) { r.Match["city"] = "Bonn" }, premium, "u1", "v2"},
		{"absent is not empty", func(r *canary.Route) { r.Match = map[string]string{"x": ""} }, premium, "u1", "v1"},
		{"everybody", func(r *canary.Route) { r.Match = nil }, nil, "u1", "v2"},
		{"weight 0", func(r *canary.Route) { r.Weight = 0 }, premium, "u1", "v1"},
		{"weight negative", func(r *canary.Route) { r.Weight = -5 }, premium, "u1", "v1"},
		{"no key, all", func(*canary.Route) {}, premium, "", "v2"},
		{"no key, a share", func(r *canary.Route) { r.Weight = 99 }, premium, "", "v1"},
		{"no canary", func(r *canary.Route) { r.Canary = "" }, premium, "u1", "v1"},
		{"pending review", func(r *canary.Route) { r.Review = &canary.Review{Version: "v2"} }, premium, "u1", "v1"},
		{"review of another", func(r *canary.Route) { r.Review = &canary.Review{Version: "v3"} }, premium, "u1", "v2"},
	}
	for _, c := range table {
		r := route()
		c.edit(&r)
		if got := r.Pick(c.labels, c.key); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The weight is the share of users, for keys of any make.
func TestWeightIsTheShare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	keys := map[string]func(i int) string{
		"sequence": func(i int) string { return fmt.Sprint("user-", i) },
		"numbers":  func(i int) string { return fmt.Sprint(i) },
		"random":   func(int) string { return fmt.Sprintf("%016x", rng.Uint64()) },
		"padded":   func(i int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", i) },
	}
	const n = 20000
	worst := 0.0
	for name, key := range keys {
		r := canary.Route{Service: "payment", Stable: "v1", Canary: "v2"}
		for _, w := range []int{1, 5, 10, 25, 50, 75, 90, 99} {
			r.Weight = w
			hits := 0
			for i := range n {
				if r.Pick(nil, key(i)) == "v2" {
					hits++
				}
			}
			p := float64(w) / 100
			z := math.Abs(float64(hits)-n*p) / math.Sqrt(n*p*(1-p))
			worst = max(worst, z)
			if z > 4 {
				t.Errorf("%s, weight %d: share %.4f, %.1f standard deviations away", name, w, float64(hits)/n, z)
			}
		}
	}
	t.Logf("worst of 32 shares is %.2f standard deviations away", worst)
}

// Who has the canary keeps it while the weight grows.
func TestGrowingKeepsUsers(t *testing.T) {
	r := canary.Route{Service: "s", Stable: "v1", Canary: "v2"}
	for i := range 500 {
		key, had := fmt.Sprint("u", i), false
		for r.Weight = 0; r.Weight <= 100; r.Weight++ {
			has := r.Pick(nil, key) == "v2"
			if had && !has {
				t.Fatalf("%s lost the canary at weight %d", key, r.Weight)
			}
			had = has
		}
		if !had {
			t.Fatalf("%s has no canary at 100", key)
		}
	}
}

// Not the same users meet every new version first.
func TestVersionsAreIndependent(t *testing.T) {
	const n = 20000
	both := 0
	for i := range n {
		k := fmt.Sprint("user-", i)
		if canary.Bucket("payment", "v2", k) < 50 && canary.Bucket("payment", "v3", k) < 50 {
			both++
		}
	}
	if share := float64(both) / n; math.Abs(share-.25) > .015 {
		t.Errorf("%.3f of users are in both halves, want .25", share)
	}
}

// Other languages may rely on these numbers: they must never change.
// They were computed by a second implementation, in Python.
func TestBucketIsStable(t *testing.T) {
	got := []int{canary.Bucket("payment", "v2", "user-1"), canary.Bucket("payment", "v2", "user-2"), canary.Bucket("", "", ""), canary.Bucket("a", "bc", "上海")}
	if want := []int{92, 20, 77, 30}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestValidate(t *testing.T) {
	table := []struct {
		edit func(*canary.Route)
		want string // "" means valid
	}{
		{func(*canary.Route) {}, ""},
		{func(r *canary.Route) { r.Canary, r.Weight = "", 0 }, ""},
		{func(r *canary.Route) { r.Review = &canary.Review{Version: "v2"} }, ""},
		{func(r *canary.Route) { r.Service = "" }, "service must not be empty"},
		{func(r *canary.Route) { r.Service = "a/b" }, "service"},
		{func(r *canary.Route) { r.Stable = "" }, "stable must not be empty"},
		{func(r *canary.Route) { r.Stable = strings.Repeat("v", 129) }, "stable"},
		{func(r *canary.Route) { r.Canary = "v 2" }, "canary"},
		{func(r *canary.Route) { r.Canary = "v1" }, "both"},
		{func(r *canary.Route) { r.Weight = 101 }, "weight 101"},
		{func(r *canary.Route) { r.Weight = -1 }, "weight -1"},
		{func(r *canary.Route) { r.Canary = "" }, "needs a canary"},
		{func(r *canary.Route) { r.Revision = -1 }, "revision"},
		{func(r *canary.Route) { r.Match[""] = "x" }, "match"},
		{func(r *canary.Route) { r.Match["k"] = strings.Repeat("v", 257) }, `match "k"`},
		{func(r *canary.Route) { r.Review = &canary.Review{} }, "review must name"},
		{func(r *canary.Route) { r.Review = &canary.Review{Version: "v1"} }, "pending review"},
	}
	for i, c := range table {
		r := route()
		c.edit(&r)
		err := r.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v, want %q", i, err, c.want)
		}
	}
	if err := (canary.Route{Weight: 500}).Validate(); strings.Count(err.Error(), "\n") < 2 {
		t.Errorf("all mistakes must be named at once: %v", err)
	}
}

func TestJSON(t *testing.T) {
	r := route()
	r.Review = &canary.Review{Version: "v2", Reason: "error share 7 %", Since: time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)}
	raw, err := json.Marshal(r)
	want := `{"service":"payment","stable":"v1","canary":"v2","match":{"tier":"premium"},"weight":100,"revision":0,"review":{"version":"v2","reason":"error share 7 %","since":"2026-11-23T04:05:06Z","pending":true}}`
	if err != nil || string(raw) != want {
		t.Errorf("%v\n got %s\nwant %s", err, raw, want)
	}
	var back canary.Route
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%v %+v", err, back)
	}
}

func TestTable(t *testing.T) {
	var table canary.Table
	if table.Pick("payment", nil, "u") != "" || table.All() != nil {
		t.Error("an empty table picks nothing")
	}
	r := route()
	r.Revision = 5
	if err := table.Set(r); err != nil {
		t.Fatal(err)
	}
	r.Match["tier"] = "free" // the caller's map is not the table's
	if got := table.Pick("payment", map[string]string{"tier": "premium"}, "u"); got != "v2" {
		t.Errorf("picked %s", got)
	}
	bad := route()
	bad.Weight = 400
	old := route()
	old.Revision, old.Weight = 4, 0
	if table.Set(bad) == nil || table.Set(old) == nil {
		t.Error("a bad and an old route must be refused")
	}
	if got, ok := table.Get("payment"); !ok || got.Revision != 5 || got.Weight != 100 {
		t.Errorf("a refused route must leave the good one: %+v", got)
	}
	_ = table.Set(canary.Route{Service: "bank", Stable: "v9"})
	if all := table.All(); len(all) != 2 || all[0].Service != "bank" {
		t.Errorf("%+v", all)
	}
	table.Delete("payment")
	if _, ok := table.Get("payment"); ok {
		t.Error("deleted, but there")
	}
}

func TestTableConcurrently(t *testing.T) {
	var table canary.Table
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				_ = table.Set(canary.Route{Service: fmt.Sprint("s", i), Stable: "v1", Canary: "v2", Weight: n % 101})
				table.Pick(fmt.Sprint("s", (i+1)%4), nil, "u")
			}
		})
	}
	wg.Wait()
	if len(table.All()) != 4 {
		t.Error("a write was lost")
	}
}

func TestAllocations(t *testing.T) {
	var table canary.Table
	_ = table.Set(route())
	labels := map[string]string{"tier": "premium"}
	if got := testing.AllocsPerRun(100, func() { table.Pick("payment", labels, "user-1") }); got > 0 {
		t.Errorf("Pick: %v allocations", got)
	}
}

func FuzzPick(f *testing.F) {
	f.Add(`{"service":"payment","stable":"v1","canary":"v2","match":{"tier":"premium"},"weight":50}`, "tier", "premium", "user-1")
	f.Add(`{"weight":-9223372036854775808,"review":{"pending":false}}`, "", "", "")
	f.Fuzz(func(t *testing.T, raw, label, value, key string) {
		var r canary.Route
		if json.Unmarshal([]byte(raw), &r) != nil {
			return
		}
		got := r.Pick(map[string]string{label: value}, key)
		if got != r.Stable && got != r.Canary {
			t.Fatalf("picked %q", got)
		}
		var table canary.Table
		if table.Set(r) == nil && (got != table.Pick(r.Service, map[string]string{label: value}, key) || got == "") {
			t.Fatalf("a valid route picked %q", got)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	var table canary.Table
	r := route()
	r.Weight = 50
	_ = table.Set(r)
	labels := map[string]string{"tier": "premium"}
	b.ReportAllocs()
	for b.Loop() {
		table.Pick("payment", labels, "user-12345")
	}
}
