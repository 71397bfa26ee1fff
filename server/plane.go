package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/catalog"
	"github.com/surefoot-go/surefoot/server/coord"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/red"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
	"github.com/surefoot-go/surefoot/server/store/tsdb"
	"github.com/surefoot-go/surefoot/server/vitals"
)

// Bounds of the channels between the parts, see design rule 11.
const (
	batchesWaiting = 1024 // batches of spans and findings for the picture; full drops the oldest, counted by ingest
	samplesWaiting = 4    // seconds of derived series; full drops, the next second repeats the totals
)

// plane is a Server that has been opened: every part made, nothing running.
type plane struct {
	*Server // with its defaults filled in
	addrs   Addrs
	closers []func() error // in the order of opening

	api, otlpHTTP, otlpGRPC net.Listener
	spans                   *pebble.Store
	series                  *tsdb.Store
	keeper                  *keeper

	receiver *ingest.Receiver
	batches  chan ingest.Batch
	samples  chan []store.Sample
	live     *live
	shelf    *shelf
	hub      *api.Hub
	routes   *routes
	ward     *ward
	releases *releases
	counts   *counts
	pushes   *pushes
	centre   *centre
	watch    *watch
}

// open checks, locks, binds and opens, in that order: what is cheap to refuse
// is refused first, and nothing is left behind when it fails.
func (s *Server) open(ctx context.Context) (p *plane, err error) {
	p = &plane{Server: s.orDefault()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.check(); err != nil {
		return p, err
	}
	unlock, err := lockDir(p.Dir)
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, unlock)
	if err := p.bind(); err != nil {
		return p, err
	}
	if err := p.engines(ctx); err != nil {
		return p, err
	}
	return p, p.wire(ctx)
}

func (p *plane) check() error {
	own := []struct{ field, addr string }{
		{"Addr", p.Addr}, {"OTLPGRPC", p.OTLPGRPC}, {"OTLPHTTP", p.OTLPHTTP}, {"Etcd", p.Etcd}, {"EtcdPeer", p.EtcdPeer},
	}
	if len(p.EtcdCluster) > 0 {
		own = own[:3]
	}
	for _, e := range p.EtcdCluster {
		if host, port, err := net.SplitHostPort(e); err != nil || host == "" || port == "" || strings.Contains(e, "/") {
			return &Problem{"EtcdCluster", e, BadAddress, errors.New("a member is HOST:PORT")}
		}
	}
	for _, a := range own {
		if err := checkAddress(a.field, a.addr, p.Remote); err != nil {
			return err
		}
	}
	if p.Catalog != "" {
		return readable("Catalog", p.Catalog)
	}
	return nil
}

func (p *plane) bind() error {
	for _, l := range []struct {
		field, addr string
		ln          *net.Listener
	}{{"Addr", p.Addr, &p.api}, {"OTLPGRPC", p.OTLPGRPC, &p.otlpGRPC}, {"OTLPHTTP", p.OTLPHTTP, &p.otlpHTTP}} {
		ln, err := listen(l.field, l.addr)
		if err != nil {
			return err
		}
		*l.ln = ln
		p.closers = append(p.closers, func() error {
			if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil // its server has closed it
		})
	}
	if len(p.EtcdCluster) > 0 {
		return nil
	}
	// etcd binds its own; asking first gives a better answer than it does.
	if err := free("Etcd", p.Etcd); err != nil {
		return err
	}
	return free("EtcdPeer", p.EtcdPeer)
}

// engines opens the three stores at once: each mostly waits for the disk.
func (p *plane) engines(ctx context.Context) error {
	g := safe.Group{Name: "server.open", All: true}
	g.Go(ctx, func(context.Context) (err error) {
		dir := filepath.Join(p.Dir, "spans")
		p.spans, err = pebble.Open(dir, pebble.Options{Log: p.Log})
		return p.folder(dir, err)
	})
	g.Go(ctx, func(context.Context) (err error) {
		dir := filepath.Join(p.Dir, "series")
		p.series, err = tsdb.Open(dir, tsdb.Options{Log: p.Log})
		return p.folder(dir, err)
	})
	g.Go(ctx, func(ctx context.Context) error {
		if len(p.EtcdCluster) > 0 {
			p.keeper = &keeper{cluster: &etcd.KV{Endpoints: p.EtcdCluster, Log: p.Log}, log: p.Log}
			return nil
		}
		settings := coord.Settings{Dir: filepath.Join(p.Dir, "etcd"), Client: p.Etcd, Peer: p.EtcdPeer, Log: p.Log}
		srv, err := coord.Start(ctx, settings)
		if err != nil {
			return p.folder(settings.Dir, err)
		}
		settings.Client = srv.Addr() // the same one again, also when any was asked for
		p.keeper = &keeper{settings: settings, log: p.Log, now: srv}
		return nil
	})
	err := g.Wait()
	for _, c := range []struct {
		open  bool
		close func() error
	}{
		{p.spans != nil, func() error { return p.spans.Close() }},
		{p.series != nil, func() error { return p.series.Close() }},
		{p.keeper != nil, func() error { return p.keeper.close() }},
	} {
		if c.open {
			p.closers = append(p.closers, c.close)
		}
	}
	return err
}

// folder turns an engine's complaint about its folder into a Problem.
func (p *plane) folder(dir string, err error) error {
	if err == nil {
		return nil
	}
	var problem *Problem
	var e *errs.Error
	if !errors.As(err, &e) { // the first: what follows it is how the clearing up went
		e = errs.From(err)
	}
	switch {
	case errors.As(err, &problem):
	case e.Code() == coord.AddressInUse:
		problem = &Problem{"Etcd", p.Etcd + " or " + p.EtcdPeer, Taken, err}
	case e.Code() == coord.DataInUse:
		problem = &Problem{"Dir", p.Dir, InUse, err}
	case e.Code() == coord.DirNotWritable:
		problem = &Problem{"Dir", p.Dir, Unwritable, err}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		problem = &Problem{"Dir", p.Dir, Unwritable, err}
	case e.Code() == coord.DataDamaged && strings.Contains(err.Error(), syscall.ENOSPC.Error()): // etcd passes on the text only
		problem = &Problem{"Dir", p.Dir, Unwritable, errors.Join(syscall.ENOSPC, err)}
	case e.Code() == coord.DataDamaged:
		problem = &Problem{"Dir", dir, Damaged, err}
	case e.Kind() == errs.FailedPrecondition:
		problem = &Problem{"Dir", p.Dir, InUse, err}
	case e.Kind() == errs.Unavailable:
		problem = &Problem{"Dir", dir, Damaged, err}
	default:
		return err
	}
	return problem
}

// wire makes the parts that hold nothing of their own and hands each what it
// needs.
func (p *plane) wire(ctx context.Context) error {
	p.batches = make(chan ingest.Batch, batchesWaiting)
	p.samples = make(chan []store.Sample, samplesWaiting)
	derived := &red.Fold{}
	p.counts = &counts{}
	p.receiver = &ingest.Receiver{
		Spans: p.spans.Spans(), Logs: p.spans.Logs(), Series: p.series, Count: counters{derived, p.counts}, Out: p.batches, Pick: vitals.Is, Log: p.Log,
	}
	p.live = newLive(p.ingested)
	p.shelf = &shelf{}
	p.shelf.now.Store(&catalog.Catalog{})
	p.readCatalog()
	p.hub = &api.Hub{}
	p.routes = newRoutes(p.keeper.client(), p.hub, p.Log)
	p.pushes = newPushes(p.routes.store, p.series, p.spans.Logs(), p.counts, p.Log)
	p.centre = &centre{p.routes, p.pushes}
	p.keeper.routes, p.keeper.pushes = p.routes, p.pushes
	if err := p.routes.load(ctx); err != nil {
		if p.keeper.cluster == nil {
			return err
		}
		p.Log.Warn("the etcd cluster does not answer yet; routes and config are read once it does", "err", err)
	}
	blobs := p.spans.Blobs()
	p.ward = newWard(diagnose.Doctor{Spans: p.spans.Spans(), Logs: p.spans.Logs(), Catalog: p.shelf}, blobs)
	p.releases = newReleases(p.routes.current, p.routes.rollback, p.Log)
	p.watch = &watch{
		batches: p.batches, red: derived, samples: p.samples, ward: p.ward, rel: p.releases, blobs: blobs,
		live: p.live, shelf: p.shelf, hub: p.hub, log: p.Log,
	}
	if err := p.watch.load(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if n := p.watch.recall(ctx, p.spans.Spans(), begin); n > 0 {
		p.Log.Info("the last minutes are known again", "spans", n, "took", time.Since(begin).Round(time.Millisecond).String())
	}
	return nil
}

// ingested are the receiver's totals in the API's words.
func (p *plane) ingested() api.Ingest {
	st := p.receiver.Stats()
	return api.Ingest{
		Spans: int64(st.Spans), Logs: int64(st.Logs), Points: int64(st.Points), DroppedBatches: int64(st.DroppedBatches),
		Refused: int64(st.RefusedSpans + st.RefusedLogs + st.RefusedPoints + st.Full + st.Bad + st.Failed),
	}
}

// close ends what open made, last first, and joins what went wrong.
func (p *plane) close() error {
	var all []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		if err := p.closers[i](); err != nil {
			all = append(all, fmt.Errorf("server: closing: %w", err))
		}
	}
	p.closers = nil
	return errors.Join(all...)
}

// drain is how long requests in flight may take at the end.
const drain = 5 * time.Second
