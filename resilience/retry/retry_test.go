package retry_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/retry"
)

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	want := retry.Policy{
		Max: 3, Base: 100 * time.Millisecond, Cap: 5 * time.Second, Factor: 2, Jitter: 1,
		Budget: 0.1, Reserve: 10, Window: 10 * time.Second,
	}
	if got := (retry.Policy{}).OrDefault(); got != want {
		t.Errorf("zero Policy is %+v, want %+v", got, want)
	}
	if got := want.OrDefault(); got != want {
		t.Errorf("OrDefault is not idempotent: %+v", got)
	}
}

func TestNext(t *testing.T) {
	t0 := time.Unix(1000, 0)
	in := func(d time.Duration) time.Time { return t0.Add(d) }
	const almost = 1 - 1e-12
	for name, tt := range map[string]struct {
		p    retry.Policy
		m    retry.Moment
		want retry.Verdict
	}{
		"first wait, full jitter, least": {m: retry.Moment{Rand: 0}, want: again(0)},
		"first wait, full jitter, half":  {m: retry.Moment{Rand: 0.5}, want: again(50 * time.Millisecond)},
		"third wait":                     {m: retry.Moment{Tries: 2, Rand: 0.5}, want: again(200 * time.Millisecond)},
		"three tries are enough":         {m: retry.Moment{Tries: 3}, want: stop(retry.Exhausted)},
		"negative Max means none":        {p: retry.Policy{Max: -1}, want: stop(retry.Exhausted)},
		"cap":                            {p: retry.Policy{Max: 100, Jitter: -1}, m: retry.Moment{Tries: 99}, want: again(5 * time.Second)},
		"no cap, no overflow":            {p: retry.Policy{Max: 1 << 30, Cap: -1, Jitter: -1}, m: retry.Moment{Tries: 1 << 20}, want: again(math.MaxInt64 / 4)},
		"half jitter":                    {p: retry.Policy{Jitter: 0.5}, m: retry.Moment{Rand: 0}, want: again(50 * time.Millisecond)},
		"no growth":                      {p: retry.Policy{Factor: -1, Jitter: -1}, m: retry.Moment{Tries: 2}, want: again(100 * time.Millisecond)},
		"NaN growth waits the cap":       {p: retry.Policy{Factor: math.NaN(), Jitter: -1}, m: retry.Moment{Tries: 1}, want: again(5 * time.Second)},
		"no wait":                        {p: retry.Policy{Base: -1}, m: retry.Moment{Rand: 0.9}, want: again(0)},
		"deadline clamps":                {m: retry.Moment{Tries: 2, Now: t0, Deadline: in(100 * time.Millisecond), Rand: 0.5}, want: again(25 * time.Millisecond)},
		"deadline is now":                {m: retry.Moment{Now: t0, Deadline: t0}, want: stop(retry.Deadline)},
		"deadline is past":               {m: retry.Moment{Now: in(1), Deadline: t0}, want: stop(retry.Deadline)},
		"target asks":                    {m: retry.Moment{After: time.Second, Rand: 0.5}, want: again(1050 * time.Millisecond)},
		"target asks, little is left":    {m: retry.Moment{After: time.Second, Now: t0, Deadline: in(1020 * time.Millisecond), Rand: 0.5}, want: again(1005 * time.Millisecond)},
		"target asks past deadline":      {m: retry.Moment{After: time.Second, Now: t0, Deadline: in(time.Second)}, want: stop(retry.Deadline)},
		"target asks longer than cap":    {m: retry.Moment{After: 6 * time.Second}, want: stop(retry.Pushback)},
		"target says no":                 {m: retry.Moment{After: -1}, want: stop(retry.Pushback)},
		"classic 1":                      {p: retry.Classic(), m: retry.Moment{Rand: almost}, want: again(time.Second)},
		"classic 2":                      {p: retry.Classic(), m: retry.Moment{Tries: 1}, want: again(2 * time.Second)},
		"classic 3":                      {p: retry.Classic(), m: retry.Moment{Tries: 2}, want: again(4 * time.Second)},
		"classic is over":                {p: retry.Classic(), m: retry.Moment{Tries: 3}, want: stop(retry.Exhausted)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.p.Next(tt.m); got != tt.want {
				t.Errorf("Next = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func again(d time.Duration) retry.Verdict { return retry.Verdict{Again: true, Wait: d} }
func stop(why retry.Reason) retry.Verdict { return retry.Verdict{Why: why} }

// For any policy and any moment: a wait is never negative, never past the
// deadline, never shorter than asked, never longer than Cap on top of that.
func TestNextKeepsItsPromises(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	t0 := time.Unix(1000, 0)
	for range 200_000 {
		p := retry.Policy{
			Max: r.IntN(8) - 1, Base: time.Duration(r.Int64N(int64(time.Second))) - 1, Cap: time.Duration(r.Int64N(int64(8*time.Second))) - 1,
			Factor: r.Float64()*5 - 1, Jitter: r.Float64()*2.5 - 0.5,
		}
		m := retry.Moment{Tries: r.IntN(10), Now: t0, Rand: r.Float64()}
		if r.IntN(2) == 0 {
			m.Deadline = t0.Add(time.Duration(r.Int64N(int64(10*time.Second))) - time.Second)
		}
		if r.IntN(2) == 0 {
			m.After = time.Duration(r.Int64N(int64(6*time.Second))) - 1
		}
		v := p.Next(m)
		d := p.OrDefault()
		switch {
		case !v.Again && (v.Why == "" || v.Wait != 0), v.Again && v.Why != "":
			t.Fatalf("%+v %+v: half a verdict %+v", p, m, v)
		case !v.Again:
		case m.Tries >= d.Max:
			t.Fatalf("%+v %+v: one try too many", p, m)
		case v.Wait < 0 || v.Wait < m.After:
			t.Fatalf("%+v %+v: waits %v, asked for %v", p, m, v.Wait, m.After)
		case !m.Deadline.IsZero() && !m.Now.Add(v.Wait).Before(m.Deadline):
			t.Fatalf("%+v %+v: waits %v, past the deadline", p, m, v.Wait)
		case d.Cap > 0 && v.Wait-m.After > d.Cap:
			t.Fatalf("%+v %+v: waits %v, over the cap", p, m, v.Wait)
		}
	}
}

// Full jitter spreads the waits over the whole range, evenly.
func TestFullJitterIsUniform(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 100_000
	var buckets [10]int
	for range n {
		w := retry.Policy{}.Next(retry.Moment{Rand: r.Float64()}).Wait
		buckets[min(int(w*10/(100*time.Millisecond)), 9)]++
	}
	for i, got := range buckets {
		if share := float64(got) / n; math.Abs(share-0.1) > 0.005 {
			t.Errorf("tenth %d of the range has %.3f of the waits, want 0.1", i, share)
		}
	}
}

type shed time.Duration

func (s shed) Error() string             { return "shed" }
func (s shed) RetryDelay() time.Duration { return time.Duration(s) }

func TestDo(t *testing.T) {
	boom := errors.New("boom")
	fails := func(n int, err error) func(int) error {
		return func(try int) error {
			if try < n {
				return err
			}
			return nil
		}
	}
	plain := retry.Policy{Jitter: -1}
	for name, tt := range map[string]struct {
		p     retry.Policy
		limit time.Duration
		fn    func(try int) error
		err   error
		tries int
		took  time.Duration
	}{
		"success":              {p: plain, fn: fails(0, boom), tries: 1},
		"second try":           {p: plain, fn: fails(1, boom), tries: 2, took: 100 * time.Millisecond},
		"all tries":            {p: plain, fn: fails(9, boom), err: boom, tries: 4, took: 700 * time.Millisecond},
		"stop":                 {p: plain, fn: fails(9, retry.Stop(boom)), err: boom, tries: 1},
		"asked to wait":        {p: plain, fn: fails(1, shed(time.Second)), tries: 2, took: 1100 * time.Millisecond},
		"asked not to retry":   {p: plain, fn: fails(1, shed(-1)), err: shed(-1), tries: 1},
		"clamped by deadline":  {p: plain, limit: 40 * time.Millisecond, fn: fails(1, boom), tries: 2, took: 20 * time.Millisecond},
		"classic, whole story": {p: retry.Classic(), fn: fails(3, boom), tries: 4, took: 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				start, tries := time.Now(), 0
				var budget retry.Budget
				v, err := retry.Do(ctx, tt.p, &budget, func(ctx context.Context, try int) (int, error) {
					if try != tries {
						t.Errorf("try %d calls itself %d", tries, try)
					}
					tries++
					return try, tt.fn(try)
				})
				if err != tt.err || tries != tt.tries || v != tries-1 || time.Since(start) != tt.took {
					t.Errorf("got %v, %v after %d tries and %v; want %v after %d and %v", v, err, tries, time.Since(start), tt.err, tt.tries, tt.took)
				}
			})
		})
	}
}

func TestDoStopsWaitingWhenCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		boom := errors.New("boom")
		start, tries := time.Now(), 0
		_, err := retry.Do(ctx, retry.Policy{Jitter: -1}, nil, func(context.Context, int) (int, error) { tries++; return 0, boom })
		if err != boom || tries != 1 || time.Since(start) != 10*time.Millisecond {
			t.Errorf("got %v after %d tries and %v", err, tries, time.Since(start))
		}
	})
}

func TestStopOfNilIsNil(t *testing.T) {
	if err := retry.Stop(nil); err != nil {
		t.Error(err)
	}
	if boom := errors.New("boom"); !errors.Is(retry.Stop(boom), boom) {
		t.Error("Stop hides what it wraps")
	}
}

func BenchmarkDoSuccess(b *testing.B) {
	var budget retry.Budget
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		retry.Do(ctx, retry.Policy{}, &budget, func(context.Context, int) (int, error) { return 0, nil })
	}
}
