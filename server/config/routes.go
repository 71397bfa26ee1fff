package config

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/errs"
)

// PendingReview is the id of the Conflict that refuses traffic to a version
// that was rolled back and has not been cleared.
const PendingReview = "pending_review"

// Automat is the author of what the control plane does by itself. It can not
// clear a review: a person must.
const Automat = "surefoot"

// Routes returns all routes by service. One that does not decode is left out
// and logged.
func (s *Store) Routes(ctx context.Context) ([]canary.Route, error) {
	items, _, err := s.KV.List(ctx, RoutePrefix)
	if err != nil {
		return nil, errs.Wrap(err, "config.Routes")
	}
	out := make([]canary.Route, 0, len(items))
	for _, it := range items {
		if r, ok := s.decode(ctx, it); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *Store) decode(ctx context.Context, it etcd.Item) (canary.Route, bool) {
	r, err := canary.Decode(it.Key, it.Value, it.Revision)
	if err != nil {
		s.log().ErrorContext(ctx, "unreadable route", slog.String("key", it.Key), slog.Any("error", err))
	}
	return r, err == nil
}

// Route returns one route; errs.NotFound when there is none.
func (s *Store) Route(ctx context.Context, service string) (canary.Route, error) {
	const op = "config.Route"
	st, err := s.state(ctx, op, service)
	if err != nil {
		return canary.Route{}, errs.Wrap(err, op)
	}
	if st.item.Revision == 0 {
		return canary.Route{}, errs.New(errs.NotFound, op, "no such route").With("service", service)
	}
	return st.route, nil
}

// PutRoute writes r if the route's revision is still rev, and returns it as
// written. r.Revision and r.Review are not the caller's to set: the marks of
// versions pending review stay. A route that sends traffic to such a version is
// refused with a Conflict of id PendingReview, and one that does not validate
// with Invalid and the reasons as details.
func (s *Store) PutRoute(ctx context.Context, r canary.Route, rev int64, who Author) (canary.Route, error) {
	const op = "config.PutRoute"
	who, err := who.check(op)
	if err != nil {
		return canary.Route{}, err
	}
	r.Revision, r.Review = 0, nil
	if err := invalid(op, r.Validate()); err != nil {
		return canary.Route{}, err
	}
	var out canary.Route
	err = s.again(ctx, op, rev, func() error {
		st, err := s.state(ctx, op, r.Service)
		if err != nil {
			return err
		}
		if rev != Any && rev != st.item.Revision {
			return changed(op, st.item.Key, st.item.Revision)
		}
		if m := st.mark(r.Stable); m != nil {
			return pending(op, *m)
		}
		if m := st.mark(r.Canary); m != nil && r.Weight > 0 {
			return pending(op, *m)
		}
		next := r
		next.Review = st.show(next.Canary)
		out, err = s.write(ctx, st, next, who)
		return err
	})
	return out, errs.Wrap(err, op)
}

// Rollback takes version off the service's traffic and marks it as pending
// review. changed is false when that is so already, or when the route no longer
// names the version as its canary. It does not give way to a writer at the same
// time: it reads again and writes again.
func (s *Store) Rollback(ctx context.Context, service, version, reason string) (changed bool, err error) {
	const op = "config.Rollback"
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxWhy)], "")
	err = s.again(ctx, op, Any, func() error {
		st, err := s.state(ctx, op, service)
		if err != nil {
			return err
		}
		if st.item.Revision == 0 {
			return errs.New(errs.NotFound, op, "no such route").With("service", service)
		}
		if version == "" || st.route.Canary != version {
			return nil
		}
		if st.route.Weight == 0 && st.mark(version) != nil {
			return nil
		}
		m := canary.Review{Version: version, Reason: reason, Since: time.Now().UTC().Truncate(time.Millisecond)}
		value, err := json.Marshal(m)
		if err != nil {
			return errs.New(errs.Internal, op, "the mark can not be written down").Because(err)
		}
		next := st.route
		next.Weight, next.Review = 0, &m
		_, err = s.write(ctx, st, next, Author{By: Automat, Why: reason}, etcd.Write{Key: reviewKey(service, version), Value: value, If: Any})
		changed = err == nil
		return err
	})
	return changed, errs.Wrap(err, op)
}

// ClearReview ends the pending review the route shows, and returns the route,
// which shows the next one if there is another. by names the person who has
// looked; without one, or with Automat, it is Invalid. Without a review it is
// FailedPrecondition. Traffic does not come back by itself: PutRoute sends it.
func (s *Store) ClearReview(ctx context.Context, service, by, note string) (canary.Route, error) {
	const op = "config.ClearReview"
	who, err := Author{By: by, Why: note}.check(op)
	if err != nil {
		return canary.Route{}, err
	}
	if strings.EqualFold(who.By, Automat) {
		return canary.Route{}, errs.New(errs.Invalid, op, "say who makes the change").Detail("by must be a person")
	}
	var out canary.Route
	err = s.again(ctx, op, Any, func() error {
		st, err := s.state(ctx, op, service)
		if err != nil {
			return err
		}
		if st.item.Revision == 0 {
			return errs.New(errs.NotFound, op, "no such route").With("service", service)
		}
		gone := st.show(st.route.Canary)
		if gone == nil {
			return errs.New(errs.FailedPrecondition, op, "no version of this service is pending review").With("service", service)
		}
		st.marks = slices.DeleteFunc(st.marks, func(m canary.Review) bool { return m.Version == gone.Version })
		next := st.route
		next.Review = st.show(next.Canary)
		out, err = s.write(ctx, st, next, who, etcd.Write{Key: reviewKey(service, gone.Version), Delete: true, If: Any})
		return err
	})
	return out, errs.Wrap(err, op)
}

// Watch calls fn with all routes, by service, first as they are and then after
// every change, from this goroutine, until ctx ends; it returns as
// etcd.KV.Watch does. A route that does not decode is logged and leaves the one
// before it.
func (s *Store) Watch(ctx context.Context, fn func(routes []canary.Route)) error {
	routes := map[string]canary.Route{}
	ready := false
	err := s.KV.Watch(ctx, RoutePrefix, func(e etcd.Event) {
		switch e.Kind {
		case etcd.Synced:
			ready = true
		case etcd.Delete:
			delete(routes, e.Key)
		case etcd.Put:
			if r, ok := s.decode(ctx, etcd.Item{Key: e.Key, Value: e.Value, Revision: e.Revision}); ok {
				routes[e.Key] = r
			}
		}
		if ready {
			all := make([]canary.Route, 0, len(routes))
			for _, key := range slices.Sorted(maps.Keys(routes)) {
				all = append(all, routes[key])
			}
			fn(all)
		}
	})
	return errs.Wrap(err, "config.Watch")
}

// state is what is known of one service: its route and the versions pending
// review, oldest first. Its marks can not change without its route changing
// too, so a write on condition of the route's revision is safe.
type state struct {
	item  etcd.Item
	route canary.Route
	marks []canary.Review
}

func (s *Store) state(ctx context.Context, op, service string) (state, error) {
	if (canary.Route{Service: service, Stable: "-"}).Validate() != nil {
		return state{}, errs.New(errs.Invalid, op, "that is no name of a service")
	}
	var st state
	var err error
	if st.item, err = s.current(ctx, RoutePrefix+service); err != nil {
		return state{}, err
	}
	if st.item.Revision > 0 {
		st.route, err = canary.Decode(st.item.Key, st.item.Value, st.item.Revision)
		if err != nil && op != "config.PutRoute" { // writing anew is the cure
			return state{}, errs.New(errs.Internal, op, "the stored route can not be read; write it anew").Because(err)
		}
	}
	items, _, err := s.KV.List(ctx, reviewPrefix+service+"/")
	if err != nil {
		return state{}, err
	}
	for _, it := range items {
		var m canary.Review
		if err := json.Unmarshal(it.Value, &m); err != nil || m.Version == "" {
			m = canary.Review{Reason: "the mark can not be read"} // it still holds
		}
		m.Version = strings.TrimPrefix(it.Key, reviewPrefix+service+"/")
		st.marks = append(st.marks, m)
	}
	slices.SortStableFunc(st.marks, func(a, b canary.Review) int { return a.Since.Compare(b.Since) })
	if st.route.Review != nil && st.mark(st.route.Review.Version) == nil {
		st.marks = append(st.marks, *st.route.Review) // a mark only the route has holds too
	}
	return st, nil
}

// mark is the pending review of version, or nil.
func (st *state) mark(version string) *canary.Review {
	for i := range st.marks {
		if st.marks[i].Version == version {
			return &st.marks[i]
		}
	}
	return nil
}

// show picks the review that the route shows: its own canary's, or else the
// newest.
func (st *state) show(version string) *canary.Review {
	m := st.mark(version)
	if m == nil && len(st.marks) > 0 {
		m = &st.marks[len(st.marks)-1]
	}
	if m == nil {
		return nil
	}
	c := *m
	return &c
}

func (s *Store) write(ctx context.Context, st state, next canary.Route, who Author, with ...etcd.Write) (canary.Route, error) {
	const op = "config.write"
	next.Revision = 0
	if err := invalid(op, next.Validate()); err != nil {
		return canary.Route{}, err
	}
	value, err := json.Marshal(next)
	if err != nil {
		return canary.Route{}, errs.New(errs.Internal, op, "the route can not be written down").Because(err)
	}
	next.Revision, err = s.commit(ctx, who, etcd.Write{Key: st.item.Key, Value: value, If: st.item.Revision}, st.item.Value, with...)
	return next, err
}

func reviewKey(service, version string) string { return reviewPrefix + service + "/" + version }

func pending(op string, m canary.Review) error {
	return errs.New(errs.Conflict, op, fmt.Sprintf("version %s is pending review; a person must clear it first", m.Version)).
		ID(PendingReview).Detail(m.Reason)
}

func invalid(op string, err error) error {
	if err == nil {
		return nil
	}
	return errs.New(errs.Invalid, op, "the route is not valid").Detail(lines(err)...)
}
