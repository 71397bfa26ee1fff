package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

var errDown = errors.New("down")

// call makes one call with the given outcome and reports whether it was let through.
func call(t *testing.T, b *breaker.Breaker, o breaker.Outcome) bool {
	t.Helper()
	p, err := b.Allow()
	if err != nil {
		if err != breaker.ErrOpen {
			t.Fatalf("Allow: %v, want ErrOpen", err)
		}
		return false
	}
	p.Done(o, map[bool]error{true: errDown}[o == breaker.Failure])
	return true
}

func calls(t *testing.T, b *breaker.Breaker, n int, o breaker.Outcome) (through int) {
	t.Helper()
	for range n {
		if call(t, b, o) {
			through++
		}
	}
	return through
}

func want(t *testing.T, b *breaker.Breaker, s breaker.State) {
	t.Helper()
	if got := b.State(); got != s {
		t.Fatalf("state is %v, want %v (%+v)", got, s, b.Snapshot())
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	zero := breaker.Settings{
		MaxRequests: 3, Interval: 10 * time.Second, Timeout: 400 * time.Millisecond, Failures: 5,
		FailureShare: 0.5, MinCalls: 10, Ramp: 400 * time.Millisecond,
	}
	if got := new(breaker.Breaker).Settings(); got != zero {
		t.Errorf("zero Breaker follows %+v, want %+v", got, zero)
	}
	classic := zero
	classic.Rule, classic.Timeout = breaker.Consecutive, 60*time.Second
	for _, s := range []breaker.Settings{{Rule: breaker.Consecutive}, breaker.Classic()} {
		if got := s.OrDefault(); got != classic {
			t.Errorf("%+v means %+v, want %+v", s, got, classic)
		}
	}
	if got := (breaker.Settings{FailureShare: math.NaN()}).OrDefault(); got != zero {
		t.Errorf("a NaN share means %+v", got)
	}
}

// The article's breaker, number by number.
func TestClassic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Classic())
		calls(t, b, 5, breaker.Failure)
		want(t, b, breaker.Closed) // 5 in a row are borne
		call(t, b, breaker.Success)
		calls(t, b, 5, breaker.Failure)
		want(t, b, breaker.Closed) // a success breaks the run
		time.Sleep(10*time.Second + 1)
		calls(t, b, 5, breaker.Failure)
		want(t, b, breaker.Closed) // Interval starts over
		call(t, b, breaker.Failure)
		want(t, b, breaker.Open) // more than 5

		time.Sleep(60*time.Second - 1)
		if call(t, b, breaker.Success) {
			t.Fatal("let a call through before Timeout")
		}
		time.Sleep(1)
		if n := calls(t, b, 2, breaker.Success); n != 2 {
			t.Fatalf("let %d probes through, want 2", n)
		}
		want(t, b, breaker.HalfOpen)
		call(t, b, breaker.Failure)
		want(t, b, breaker.Open) // one failure is enough

		time.Sleep(60 * time.Second)
		var held [4]error
		var permits [4]breaker.Permit
		for i := range held {
			permits[i], held[i] = b.Allow()
		}
		if held[2] != nil || held[3] != breaker.ErrOpen {
			t.Fatalf("MaxRequests: got %v, want 3 through and the fourth refused", held)
		}
		for _, p := range permits {
			p.Done(breaker.Success, nil) // the refused one is a zero Permit
		}
		want(t, b, breaker.Closed)
	})
}

// As in sony/gobreaker, which bench/peers compares with: the first interval
// begins with the breaker, the next with the first call after the last, and a
// call counts in the interval in which it was let through.
func TestConsecutiveCountsByInterval(t *testing.T) {
	s := breaker.Settings{Rule: breaker.Consecutive, Failures: 1}
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(s)
		time.Sleep(9 * time.Second)
		call(t, b, breaker.Failure)
		late, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second + 1) // a new interval, by 1ns
		late.Done(breaker.Failure, errDown)
		call(t, b, breaker.Failure)
		want(t, b, breaker.Closed) // one failure in this interval
		time.Sleep(10 * time.Second)
		call(t, b, breaker.Failure)
		want(t, b, breaker.Open) // the second, at its last instant
	})
	synctest.Test(t, func(t *testing.T) {
		s := s
		s.Interval = -1
		b := breaker.New(s)
		call(t, b, breaker.Failure)
		late, _ := b.Allow()
		time.Sleep(24 * time.Hour)
		late.Done(breaker.Failure, errDown)
		want(t, b, breaker.Open) // negative: never starts over
	})
}

func TestWindowed(t *testing.T) {
	for name, tt := range map[string]struct {
		s    breaker.Settings
		do   func(t *testing.T, b *breaker.Breaker)
		want breaker.State
	}{
		"nine failures are too few to judge": {do: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 9, breaker.Failure)
		}},
		"ten failures in a row": {do: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 10, breaker.Failure)
		}, want: breaker.Open},
		"ten failures in a row after a good time": {do: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 1000, breaker.Success)
			calls(t, b, 10, breaker.Failure)
		}, want: breaker.Open},
		"half fail": {do: func(t *testing.T, b *breaker.Breaker) {
			for range 5 {
				call(t, b, breaker.Success)
				call(t, b, breaker.Failure)
			}
		}, want: breaker.Open},
		"a third fail": {do: func(t *testing.T, b *breaker.Breaker) {
			for range 100 {
				calls(t, b, 2, breaker.Success)
				call(t, b, breaker.Failure)
			}
		}},
		"a third fail, and that is too much": {s: breaker.Settings{FailureShare: 0.3}, do: func(t *testing.T, b *breaker.Breaker) {
			for range 100 {
				calls(t, b, 2, breaker.Success)
				call(t, b, breaker.Failure)
			}
		}, want: breaker.Open},
		"old successes do not excuse": {do: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 100, breaker.Success)
			time.Sleep(10 * time.Second)
			for range 5 {
				call(t, b, breaker.Success)
				call(t, b, breaker.Failure)
			}
		}, want: breaker.Open},
		"old failures are forgiven": {do: func(t *testing.T, b *breaker.Breaker) {
			for range 20 {
				calls(t, b, 9, breaker.Failure)
				time.Sleep(11 * time.Second)
			}
		}},
		"neutral outcomes never open": {do: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 1000, breaker.Ignored)
			calls(t, b, 1000, breaker.Answered)
		}},
		"neutral outcomes do not dilute": {do: func(t *testing.T, b *breaker.Breaker) {
			for range 10 {
				calls(t, b, 50, breaker.Answered)
				calls(t, b, 50, breaker.Ignored)
				call(t, b, breaker.Failure)
			}
		}, want: breaker.Open},
		"off": {s: breaker.Settings{Rule: breaker.Off}, do: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 1000, breaker.Failure)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.New(tt.s)
				tt.do(t, b)
				want(t, b, tt.want)
			})
		})
	}
}

// After an outage: open for about Timeout, three probes, then a ramp from a
// tenth of the traffic to all of it.
func TestWindowedComesBackGently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Timeout: time.Second, Ramp: 3 * time.Second})
		calls(t, b, 10, breaker.Failure)
		want(t, b, breaker.Open)
		if w := b.Wait(); w < 750*time.Millisecond || w > 1250*time.Millisecond {
			t.Errorf("opens for %v, want 1s give or take a quarter", w)
		}
		time.Sleep(b.Wait())
		if n := calls(t, b, 3, breaker.Success); n != 3 {
			t.Fatalf("%d probes, want 3", n)
		}
		want(t, b, breaker.HalfOpen)
		var shares []float64
		for range 3 {
			through := 0
			for range 1000 {
				time.Sleep(time.Millisecond)
				through += calls(t, b, 1, breaker.Success)
			}
			shares = append(shares, float64(through)/1000)
		}
		t.Logf("shares let through in each second of the ramp: %.2f", shares)
		for i, w := range []float64{0.18, 0.5, 0.83} {
			if math.Abs(shares[i]-w) > 0.03 {
				t.Errorf("second %d lets %.2f through, want %.2f", i, shares[i], w)
			}
		}
		call(t, b, breaker.Success)
		want(t, b, breaker.Closed)
		calls(t, b, 5, breaker.Failure)
		want(t, b, breaker.Closed) // what was before the outage is forgotten
	})
}

func TestRampGivesUpOnATargetThatFallsOverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Timeout: time.Second, Ramp: 3 * time.Second})
		calls(t, b, 10, breaker.Failure)
		time.Sleep(b.Wait())
		calls(t, b, 3, breaker.Success)
		time.Sleep(1500 * time.Millisecond)
		for i := 0; b.State() == breaker.HalfOpen && i < 100; i++ {
			call(t, b, breaker.Failure)
		}
		want(t, b, breaker.Open)
		if n := b.Snapshot().Counts.Failures; n != 13 {
			t.Errorf("it took %d failures to open again, want 3", n-10)
		}
	})
}

// A target whose only answers are 404 must not keep its breaker half-open.
func TestAnswersProveThatTheTargetIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Ramp: -1})
		calls(t, b, 10, breaker.Failure)
		time.Sleep(b.Wait())
		calls(t, b, 50, breaker.Ignored) // says nothing, holds no place
		want(t, b, breaker.HalfOpen)
		calls(t, b, 3, breaker.Answered)
		want(t, b, breaker.Closed)
	})
}

func TestOutcomesOfThePastCountForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Ramp: -1})
		slow := make([]breaker.Permit, 50)
		for i := range slow {
			slow[i], _ = b.Allow()
		}
		calls(t, b, 10, breaker.Failure)
		time.Sleep(b.Wait())
		calls(t, b, 1, breaker.Success)
		for _, p := range slow {
			p.Done(breaker.Failure, errDown) // admitted before the outage was seen
		}
		want(t, b, breaker.HalfOpen)
		calls(t, b, 2, breaker.Success)
		want(t, b, breaker.Closed)
	})
}

func TestPermitsCannotLeak(t *testing.T) {
	ends := map[string]func(*breaker.Breaker){
		"panic": func(b *breaker.Breaker) {
			defer func() {
				if recover() == nil {
					t.Error("Do swallowed the panic")
				}
			}()
			breaker.Do(b, func() (int, error) { panic("boom") })
		},
		"goexit": func(b *breaker.Breaker) {
			var wg sync.WaitGroup
			wg.Go(func() { breaker.Do(b, func() (int, error) { runtime.Goexit(); return 0, nil }) })
			wg.Wait()
		},
		"cancel": func(b *breaker.Breaker) {
			breaker.Do(b, func() (int, error) { return 0, fmt.Errorf("call: %w", context.Canceled) })
		},
		"never handed back": func(b *breaker.Breaker) {
			b.Allow()
			time.Sleep(31 * time.Second)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.New(breaker.Classic())
				calls(t, b, 6, breaker.Failure)
				time.Sleep(time.Minute)
				for range 10 { // more often than there are places
					end(b)
				}
				if n := calls(t, b, 3, breaker.Success); n != 3 {
					t.Errorf("%d probes let through, want 3", n)
				}
				want(t, b, breaker.Closed)
			})
		})
	}
}

func TestDo(t *testing.T) {
	b := breaker.New(breaker.Settings{MinCalls: 1})
	if v, err := breaker.Do(b, func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
	if v, err := breaker.Do(b, func() (int, error) { return 8, errDown }); v != 8 || err != errDown {
		t.Errorf("got %v, %v", v, err)
	}
	if _, err := breaker.Do(b, func() (int, error) { t.Error("called"); return 0, nil }); err != breaker.ErrOpen {
		t.Errorf("got %v, want ErrOpen", err)
	}
}

func TestSnapshotAndOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []breaker.Change
		b := &breaker.Breaker{OnChange: func(c breaker.Change) { told = append(told, c) }}
		b.Set(breaker.Settings{Ramp: -1})
		for range 10 {
			calls(t, b, 10, breaker.Failure)
			call(t, b, breaker.Success) // refused
			time.Sleep(2 * time.Second)
			calls(t, b, 3, breaker.Success)
		}
		call(t, b, breaker.Answered)
		s := b.Snapshot()
		if s.State != breaker.Closed || s.LastErr != errDown || s.LastErrAt.IsZero() || s.Since.IsZero() {
			t.Errorf("snapshot %+v", s)
		}
		if want := (breaker.Counts{Successes: 30, Failures: 100, Answered: 1, Rejected: 10, Changes: 30}); s.Counts != want {
			t.Errorf("counts %+v, want %+v", s.Counts, want)
		}
		if len(told) != 30 || len(s.Changes) != 16 {
			t.Fatalf("told of %d changes, remembers %d; want 30 and 16", len(told), len(s.Changes))
		}
		for i, c := range s.Changes {
			if c != told[14+i] {
				t.Errorf("change %d is %+v, told %+v", i, c, told[14+i])
			}
		}
		if c := told[0]; c.From != breaker.Closed || c.To != breaker.Open || c.Err != errDown {
			t.Errorf("first change %+v", c)
		}
	})
}

func TestSetWhileOpen(t *testing.T) {
	var told int
	b := breaker.New(breaker.Settings{})
	b.OnChange = func(breaker.Change) { told++ }
	calls(t, b, 10, breaker.Failure)
	b.Set(breaker.Settings{Rule: breaker.Off})
	want(t, b, breaker.Closed)
	if n := calls(t, b, 100, breaker.Failure); n != 100 || told != 2 {
		t.Errorf("%d of 100 calls through, told of %d changes; want all and 2", n, told)
	}
	b.Set(breaker.Settings{})
	calls(t, b, 10, breaker.Failure)
	want(t, b, breaker.Open)
}

func TestClosedPathAllocatesNothing(t *testing.T) {
	var b breaker.Breaker
	if n := testing.AllocsPerRun(1000, func() {
		p, _ := b.Allow()
		p.Done(breaker.Success, nil)
	}); n != 0 {
		t.Errorf("Allow and Done: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		breaker.Do(&b, func() (int, error) { return 1, nil })
	}); n != 0 {
		t.Errorf("Do: %v allocations, want 0", n)
	}
}

// Many callers, a target that goes up and down: no race, no lost place, and
// the breaker is closed when the target has been well for a while.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker.Breaker
		b.OnChange = func(breaker.Change) { b.Snapshot() }
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for range 400 {
					p, err := b.Allow()
					time.Sleep(time.Duration(i%7+1) * 5 * time.Millisecond)
					if err != nil {
						continue
					}
					if bad := time.Since(start) > time.Second && time.Since(start) < 4*time.Second; bad {
						p.Done(breaker.Failure, errDown)
					} else {
						p.Done(breaker.Success, nil)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(5 * time.Second)
		for range 20 {
			call(t, &b, breaker.Success)
			time.Sleep(time.Second)
		}
		want(t, &b, breaker.Closed)
	})
}

func BenchmarkClosed(b *testing.B) {
	var br breaker.Breaker
	b.ReportAllocs()
	for b.Loop() {
		p, _ := br.Allow()
		p.Done(breaker.Success, nil)
	}
}

func BenchmarkClosedParallel(b *testing.B) {
	var br breaker.Breaker
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, _ := br.Allow()
			p.Done(breaker.Success, nil)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	br := breaker.New(breaker.Settings{MinCalls: 1, Timeout: time.Hour})
	p, _ := br.Allow()
	p.Done(breaker.Failure, errDown)
	b.ReportAllocs()
	for b.Loop() {
		br.Allow()
	}
}
