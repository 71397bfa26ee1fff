package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

// plan says what to measure and for how long.
type plan struct {
	rounds, loadRounds int
	each, loadEach     time.Duration
	loads, quick       bool
	idle, heap         int
	only, profile      string
	sizes              []int
}

// common is the load of all wires alike, in messages a second.
func common(size int) float64 {
	switch {
	case size >= 32<<10:
		return 1000
	case size >= 512:
		return 20000
	}
	return 50000
}

// The loads latency is measured at.
const (
	atHalf   = "half"   // half of what the wire itself does at most
	atCommon = "common" // the same for all
)

// figures are what was measured, in the order of rounds.
type figures struct {
	wires  []wire
	floods map[point][]flood
	paces  map[paced][]pace
	limits map[int]limit
	ssl    map[int]float64
	idle   []idle
	bare   []flood // nameBoth at bareSize in a process that holds next to nothing
}

// point is a wire at a size, paced at a load, too.
type point struct {
	wire string
	size int
}

type paced struct {
	point
	load string
}

// flood is one round of throughput.
type flood struct {
	perSecond float64
	cpu       time.Duration // of all its processes, for a message
	ofTLS     float64       // share of crypto/tls alone in the same round; 0 if not measured
}

// pace is one round of latency.
type pace struct {
	rate           float64
	p50, p99, most time.Duration
}

// pair is a wire's processes.
type pair struct {
	wire
	sender, receiver, broker *child
}

func (p plan) run(ctx context.Context, progress io.Writer) (*figures, error) {
	only, err := regexp.Compile(p.only)
	if err != nil {
		return nil, command.Misuse{Err: err}
	}
	all := &figures{floods: map[point][]flood{}, paces: map[paced][]pace{}, limits: map[int]limit{}, ssl: map[int]float64{}}
	for _, w := range wires() {
		if only.MatchString(w.name) {
			all.wires = append(all.wires, w)
		}
	}
	if len(all.wires) == 0 {
		return nil, command.Misuse{Err: fmt.Errorf("no wire matches %q", p.only)}
	}
	for _, size := range p.sizes {
		if err := p.size(ctx, size, all, progress); err != nil {
			return nil, err
		}
	}
	if p.idle > 0 && slices.ContainsFunc(all.wires, func(w wire) bool { return w.ours }) {
		fmt.Fprintf(progress, "pipes: %d idle channels\n", p.idle)
		if all.idle, err = p.holdIdle(ctx); err != nil {
			return nil, err
		}
	}
	if p.heap > 0 && len(all.floods[point{nameBoth, bareSize}]) > 0 && len(all.floods[point{nameTLS, bareSize}]) > 0 {
		all.bare, err = p.bare(ctx, progress)
	}
	return all, err
}

// bareSize is the size at which garbage weighs most.
const bareSize = 64 << 10

// bare is throughput without a heap to hold.
func (p plan) bare(ctx context.Context, progress io.Writer) ([]flood, error) {
	p.heap, p.loads, p.idle, p.only, p.sizes, p.rounds = 0, false, 0, "^("+regexp.QuoteMeta(nameBoth)+"|"+nameTLS+")$", []int{bareSize}, min(p.rounds, 5)
	all, err := p.run(ctx, progress)
	if err != nil {
		return nil, err
	}
	return all.floods[point{nameBoth, bareSize}], nil
}

// size measures everything at one size.
func (p plan) size(ctx context.Context, size int, all *figures, progress io.Writer) (err error) {
	shared, err := newSetup()
	if err != nil {
		return err
	}
	defer os.RemoveAll(shared.Folder)
	shared.Size, shared.Heap = size, p.heap
	if all.limits[size], err = measureLimit(ctx, size, min(p.each, 200*time.Millisecond)); err != nil {
		return err
	}
	if !p.quick {
		all.ssl[size] = openssl(ctx, size)
	}
	var pairs []*pair
	defer func() {
		for _, r := range pairs { // all at once, then wait for each
			_ = r.sender.in.Close()
			_ = r.receiver.in.Close()
		}
		for _, r := range pairs {
			r.stop()
		}
	}()
	for i, w := range all.wires {
		r, err := p.start(ctx, w, shared, i)
		if err != nil {
			return err
		}
		pairs = append(pairs, r)
	}
	for n := range p.rounds + 1 { // the first one warms up
		fmt.Fprintf(progress, "pipes: %d bytes, round %d of %d\n", size, n, p.rounds)
		if err := p.floods(ctx, pairs, size, n, all); err != nil {
			return err
		}
		slices.Reverse(pairs)
	}
	for n := range p.loadRounds {
		if !p.loads {
			break
		}
		fmt.Fprintf(progress, "pipes: %d bytes, latency, round %d of %d\n", size, n+1, p.loadRounds)
		if err := p.paces(ctx, pairs, size, all); err != nil {
			return err
		}
		slices.Reverse(pairs)
	}
	return nil
}

// floods is one round of throughput; that of number 0 does not count.
func (p plan) floods(ctx context.Context, pairs []*pair, size, number int, all *figures) error {
	now := map[string]flood{}
	for _, r := range pairs {
		f, err := r.flood(p.each)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("%s, %d bytes: %w", r.name, size, err)
		}
		now[r.name] = f
	}
	if number == 0 {
		return nil
	}
	for name, f := range now {
		if tls, ok := now[nameTLS]; ok {
			f.ofTLS = f.perSecond / tls.perSecond
		}
		at := point{name, size}
		all.floods[at] = append(all.floods[at], f)
	}
	return nil
}

// paces is one round of latency, at both loads.
func (p plan) paces(ctx context.Context, pairs []*pair, size int, all *figures) error {
	for _, r := range pairs {
		at := point{r.name, size}
		rates := map[string]float64{
			atHalf:   median(all.floods[at], func(f flood) float64 { return f.perSecond }) / 2,
			atCommon: common(size),
		}
		for _, load := range []string{atHalf, atCommon} {
			f, err := r.pace(rates[load], p.loadEach)
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("%s, %d bytes, %s load: %w", r.name, size, load, err)
			}
			all.paces[paced{at, load}] = append(all.paces[paced{at, load}], f)
		}
	}
	return nil
}

// start begins the processes of w.
func (p plan) start(ctx context.Context, w wire, s setup, i int) (r *pair, err error) {
	r = &pair{wire: w}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	s.Wire = w.name
	spawn := func(role string) (*child, error) {
		s := s
		if p.profile != "" {
			s.Profile = filepath.Join(p.profile, strconv.Itoa(i)+"-"+strconv.Itoa(s.Size)+"-"+role+".prof")
		}
		return spawn(ctx, role, s)
	}
	if w.broker != nil {
		if r.broker, err = spawn("broker"); err != nil {
			return nil, err
		}
		s.Broker = r.broker.addr
	}
	if r.receiver, err = spawn("receiver"); err != nil {
		return nil, err
	}
	s.Addr = r.receiver.addr
	r.sender, err = spawn("sender")
	return r, err
}

func (r *pair) stop() {
	for _, c := range []*child{r.sender, r.receiver, r.broker} {
		if c != nil {
			_ = c.stop() // what it has to say was said
		}
	}
}

// flood drives the pair as fast as it goes.
func (r *pair) flood(each time.Duration) (f flood, err error) {
	before, err1 := r.cpu()
	a, err2 := r.round(order{Do: "flood", Each: each})
	after, err3 := r.cpu()
	if err := errors.Join(err1, err2, err3); err != nil {
		return f, err
	}
	f.perSecond = float64(max(1, a.Count-1)) / max(a.Took, time.Nanosecond).Seconds()
	f.cpu = (after - before) / time.Duration(a.Count)
	return f, nil
}

// pace drives the pair at rate.
func (r *pair) pace(rate float64, each time.Duration) (f pace, err error) {
	a, err := r.round(order{Do: "pace", Rate: rate, Each: each})
	return pace{rate, a.P50, a.P99, a.Most}, err
}

// round sends and checks that what was sent arrived.
func (r *pair) round(o order) (arrived, error) {
	sent, err := r.sender.ask(o)
	if err != nil {
		return arrived{}, err
	}
	got, err := r.receiver.ask(order{Do: "collect", Each: o.Each})
	switch a := got.Arrived; {
	case err != nil:
		return a, err
	case a.Wrong != "":
		return a, errors.New(a.Wrong)
	case a.Count != sent.Sent:
		return a, fmt.Errorf("%d messages arrived of %d", a.Count, sent.Sent)
	default:
		return a, nil
	}
}

// cpu is what the pair's processes have used so far.
func (r *pair) cpu() (sum time.Duration, err error) {
	for _, c := range []*child{r.sender, r.receiver, r.broker} {
		if c == nil {
			continue
		}
		a, err := c.ask(order{Do: "use"})
		if err != nil {
			return 0, err
		}
		sum += a.CPU
	}
	return sum, nil
}

// median of f over s; 0 if there are none.
func median[T any](s []T, f func(T) float64) float64 {
	if len(s) == 0 {
		return 0
	}
	v := make([]float64, len(s))
	for i, x := range s {
		v[i] = f(x)
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
