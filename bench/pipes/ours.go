package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/surefoot-go/surefoot/pipe"
	"github.com/surefoot-go/surefoot/pipe/seal"
	"github.com/surefoot-go/surefoot/safe"
)

const topic = "bench"

// window is the capacity of our channels in messages; all else has its default.
const window = 4096

// ours is package pipe in its ways.
func ours() []wire {
	all := []wire{
		{name: nameBoth, words: "package pipe with mutual TLS 1.3 and every record sealed: one channel of 4096 messages."},
		{name: nameBothAck, words: "the same with acknowledgement: the sender keeps a message until it was taken from C."},
		{name: nameSeal, words: "sealed, without TLS."},
		{name: nameSealAck, words: "the same with acknowledgement."},
	}
	for i := range all {
		secure, o := i < 2, pipe.Options{Capacity: window, Ack: i%2 == 1}
		all[i].ours = true
		all[i].serve = func(ctx context.Context, s setup, take func([]byte)) (string, func(), error) {
			return servePipe(ctx, s, secure, o, func(ctx context.Context, c *pipe.Channel) error {
				for m := range c.C() {
					take(m.Data)
				}
				return nil
			})
		}
		all[i].dial = func(ctx context.Context, s setup) (sender, error) {
			k, err := link(s, secure)
			if err != nil {
				return nil, err
			}
			c, err := k.Open(ctx, topic, o)
			return pipeSender{c, k}, err
		}
	}
	return all
}

func servePipe(ctx context.Context, s setup, secure bool, o pipe.Options, handle func(context.Context, *pipe.Channel) error) (string, func(), error) {
	security, err := s.security(secure)
	if err != nil {
		return "", nil, err
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	l := &pipe.Listener{Listener: raw, Security: security, Channels: 1 << 20, Linger: -1}
	l.Handle(topic, o, handle)
	ctx, stop := context.WithCancel(ctx)
	task := safe.Go(ctx, "listener", l.Serve)
	return raw.Addr().String(), func() {
		stop()
		select {
		case <-task.Done():
		case <-time.After(time.Second):
		}
	}, nil
}

func link(s setup, secure bool) (*pipe.Link, error) {
	security, err := s.security(secure)
	return &pipe.Link{Addr: s.Addr, Security: security, Linger: -1}, err
}

// pipeSender is a channel as a program uses it: nothing to flush.
type pipeSender struct {
	*pipe.Channel
	link *pipe.Link
}

func (p pipeSender) Flush() error { return nil }

func (p pipeSender) Close() error { return errors.Join(p.Channel.Close(), p.link.Close()) }

// security writes the certificate where package pipe reads it.
func (s setup) security(secure bool) (p pipe.Security, err error) {
	secret, err1 := seal.ParseSecret(base64.StdEncoding.EncodeToString(s.Secret))
	keys, err2 := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "bench", Secret: secret}}})
	if err := errors.Join(err1, err2); err != nil {
		return p, err
	}
	p.Keys = keys
	if secure {
		cert, key := filepath.Join(s.Folder, "cert.pem"), filepath.Join(s.Folder, "key.pem")
		p.TLS = &pipe.TLS{Cert: cert, Key: key, CA: cert, ServerName: serverName}
	}
	return p, nil
}

// write puts the certificate into a new folder, which the caller removes.
func (s *setup) write() (err error) {
	if s.Folder, err = os.MkdirTemp("", "pipes"); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(s.Folder, "cert.pem"), s.Cert, 0o600),
		os.WriteFile(filepath.Join(s.Folder, "key.pem"), s.Key, 0o600))
}

// hold holds s.Channels idle channels: without an address it is the listener,
// with one the dialler. Each has carried a message before it is idle.
func hold(ctx context.Context, s setup) (string, func(), error) {
	w, ok := wireOf(s.Wire)
	if !ok || !w.ours {
		return "", nil, fmt.Errorf("%s holds no channels", s.Wire)
	}
	o, secure := pipe.Options{}, s.Wire == nameBoth
	if s.Addr == "" {
		return servePipe(ctx, s, secure, o, func(ctx context.Context, c *pipe.Channel) error {
			for m := range c.C() {
				if err := c.Send(ctx, m.Data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var links []*pipe.Link
	stop := func() {
		for _, k := range links {
			_ = k.Close()
		}
	}
	for i := range s.Channels {
		if i%(s.Channels/s.Connections) == 0 {
			k, err := link(s, secure)
			if err != nil {
				return "", stop, err
			}
			links = append(links, k)
		}
		if err := echo(ctx, links[len(links)-1], o); err != nil {
			return "", stop, fmt.Errorf("channel %d: %w", i, err)
		}
	}
	return "", stop, nil
}

// echo opens a channel and has a message go there and back.
func echo(ctx context.Context, k *pipe.Link, o pipe.Options) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := k.Open(ctx, topic, o)
	if err != nil {
		return err
	}
	if err := c.Send(ctx, newMessage(smallest)); err != nil {
		return err
	}
	select {
	case <-c.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
