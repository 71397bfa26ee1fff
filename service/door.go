package service

import (
	"context"

	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// Door returns the service's one door, to which its HTTP handlers ask for
// admission; nil if Shed is off. A gRPC server beside them asks the same one:
//
//	grpcx.Server{Service: s.Name, Observe: s.Observe(), Door: s.Door()}
//
// What is shared, such as processors and connections to a database, is shared by
// all operations, so there is one limit; it tells them apart where that matters,
// see shed.Request. Safe for concurrent use.
func (s *Service) Door() *shed.Door {
	if s.Shed.Max < 0 {
		return nil
	}
	s.doorOnce.Do(func() {
		if s.door = s.Server.Door; s.door == nil {
			s.door = shed.New(s.Shed)
		}
	})
	return s.door
}

// Board lists the guards of the clients made by Client: their breakers, limits
// and last errors, and forces them. Give it to other clients, such as
// grpcx.Client's, to have them in /debug/breakers too.
func (s *Service) Board() *resilience.Board { return &s.board }

// watchDoor reports the door as the gauges surefoot.shed.limit,
// surefoot.shed.running and surefoot.shed.waiting until the returned function is
// called.
func (s *Service) watchDoor() (end func()) {
	door := s.Door()
	if door == nil {
		return func() {}
	}
	m := s.sinks.Meter.Meter("github.com/surefoot-go/surefoot/service")
	limit, err1 := m.Int64ObservableGauge("surefoot.shed.limit", metric.WithUnit("{request}"), metric.WithDescription("Requests at once that are admitted."))
	running, err2 := m.Int64ObservableGauge("surefoot.shed.running", metric.WithUnit("{request}"), metric.WithDescription("Requests that are worked on."))
	waiting, err3 := m.Int64ObservableGauge("surefoot.shed.waiting", metric.WithUnit("{request}"), metric.WithDescription("Requests that wait to be admitted."))
	if err1 != nil || err2 != nil || err3 != nil {
		return func() {}
	}
	reg, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := door.Snapshot()
		o.ObserveInt64(limit, int64(now.Limit))
		o.ObserveInt64(running, int64(now.Running))
		o.ObserveInt64(waiting, int64(now.Waiting))
		return nil
	}, limit, running, waiting)
	if err != nil {
		return func() {}
	}
	return func() { _ = reg.Unregister() } // the process ends anyway
}
