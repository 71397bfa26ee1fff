package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// idle is what idle channels cost.
type idle struct {
	wire             string
	channels, links  int
	took             time.Duration // to open all, one after the other
	before           int64         // resident bytes of both processes with one channel
	sender, receiver int64         // with all of them
}

// holdIdle opens p.idle channels over one connection, with TLS and without, and
// a tenth as many connections with ten channels each.
func (p plan) holdIdle(ctx context.Context) (all []idle, err error) {
	for _, want := range []idle{
		{wire: nameBoth, channels: p.idle, links: 1},
		{wire: nameSeal, channels: p.idle, links: 1},
		{wire: nameBoth, channels: p.idle, links: max(1, p.idle/100)},
	} {
		one, err := p.holdOne(ctx, idle{wire: want.wire, channels: 1, links: 1})
		if err != nil {
			return nil, err
		}
		many, err := p.holdOne(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("%d idle channels of %s over %d connections: %w", want.channels, want.wire, want.links, err)
		}
		many.before = one.sender + one.receiver
		all = append(all, many)
	}
	return all, nil
}

func (p plan) holdOne(ctx context.Context, i idle) (_ idle, err error) {
	s, err := newSetup()
	if err != nil {
		return i, err
	}
	defer os.RemoveAll(s.Folder)
	s.Wire, s.Channels, s.Connections = i.wire, i.channels, i.links
	server, err := spawn(ctx, "holder", s)
	if err != nil {
		return i, err
	}
	defer server.stop()
	s.Addr = server.addr
	began := time.Now()
	client, err := spawn(ctx, "holder", s)
	if err != nil {
		return i, err
	}
	defer client.stop()
	i.took = time.Since(began)
	a, err1 := client.ask(order{Do: "settle"})
	b, err2 := server.ask(order{Do: "settle"})
	i.sender, i.receiver = a.Memory, b.Memory
	return i, errors.Join(err1, err2)
}
