package main

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// overload is a server with 20 workers of 20ms, which the door does not know:
// 1000 requests a second. Callers wait 250ms and come as a Poisson process
// whatever happens. What was admitted is worked off, in the order it came, also
// if its caller is gone.
type overload struct {
	load   float64       // as a share of 1000/s
	length time.Duration // of the story
	from   time.Duration // when judging begins
	random bool          // service times are exponential
	slower time.Duration // when service becomes 3 times slower; 0 means never
	start  int           // first limit of the door; 0 means its own default
}

const (
	workers  = 20
	work     = 20 * time.Millisecond
	capacity = 1000.0
	patience = 250 * time.Millisecond
)

// overloads are the goals' stories. A cold start has three seconds.
var overloads = []struct {
	name string
	overload
}{
	{caseHalf, overload{load: 0.5, length: 20 * time.Second}},
	{caseOne, overload{load: 1, length: 30 * time.Second, from: 3 * time.Second}},
	{caseTwo, overload{load: 2, length: 20 * time.Second, from: 3 * time.Second}},
	{caseFour, overload{load: 4, length: 12 * time.Second, from: 3 * time.Second}},
	{caseTen, overload{load: 10, length: 8 * time.Second, from: 3 * time.Second}},
	{caseRandomTwo, overload{load: 2, length: 30 * time.Second, from: 3 * time.Second, random: true}},
	{caseRandomLow, overload{load: 0.8, length: 30 * time.Second, from: 3 * time.Second, random: true}},
	{caseSlower, overload{load: 2, length: 20 * time.Second, from: 13 * time.Second, slower: 10 * time.Second}},
	{caseLow, overload{load: 2, length: 10 * time.Second, from: 3 * time.Second, start: 2}},
	{caseHigh, overload{load: 2, length: 10 * time.Second, from: 3 * time.Second, start: 200}},
	{caseLong, overload{load: 2, length: 10 * time.Minute, from: 3 * time.Second}},
}

// tell runs the story in the clock it is called in.
func (s overload) tell(seed uint64, open guard) figure {
	r := rand.New(rand.NewPCG(seed, 11))
	places := make(chan struct{}, workers)
	enter := open(s.start)
	var mu sync.Mutex
	var took []time.Duration
	var came, refused, good float64
	minutes := make([]float64, s.length/time.Minute)
	var wg sync.WaitGroup
	begin := time.Now()
	for next := time.Duration(0); ; {
		next += time.Duration(r.ExpFloat64() / s.load / capacity * 1e9)
		if next > s.length {
			break
		}
		time.Sleep(next - time.Since(begin))
		long := work
		if s.random {
			long = time.Duration(r.ExpFloat64() * float64(work))
		}
		if s.slower > 0 && next > s.slower {
			long *= 3
		}
		arrived := next
		wg.Go(func() {
			ctx, cancel := context.WithDeadline(context.Background(), begin.Add(arrived+patience))
			defer cancel()
			admitted := enter(ctx, func() {
				places <- struct{}{}
				time.Sleep(long)
				<-places
			})
			ended := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			if admitted && ended-arrived <= patience && ended < s.length {
				if m := int(ended / time.Minute); m < len(minutes) {
					minutes[m]++
				}
				if ended >= s.from {
					good++
				}
			}
			if arrived < s.from {
				return
			}
			came++
			if admitted {
				took = append(took, ended-arrived)
			} else {
				refused++
			}
		})
	}
	wg.Wait()
	can := capacity
	if s.slower > 0 {
		can /= 3
	}
	f := figure{Seed: seed, Values: map[string]float64{
		"goodput": good / can / (s.length - s.from).Seconds(),
		"refused": refused / cmp.Or(came, 1),
	}}
	slices.Sort(took)
	if n := len(took); n > 0 {
		f.Values["p99"] = float64(took[n*99/100]) / 1e6
	}
	for i := 1; i < len(minutes); i++ { // the first one has the cold start
		share := minutes[i] / 60 / capacity
		if worst, ok := f.Values["minute"]; !ok || share < worst {
			f.Values["minute"] = share
		}
	}
	return f
}

func tellOverload(t *testing.T, seed uint64, s overload, open guard) (f figure) {
	t.Helper()
	bubble(t, func() { f = s.tell(seed, open) })
	return f
}
