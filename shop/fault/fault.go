// Package fault puts a real TCP proxy between two processes and breaks it on
// demand, so that neither of them holds a line of code for being tested.
//
//	p, err := fault.Listen("bank", "127.0.0.1:17620", "127.0.0.1:17616")
//	p.Cut()                  // refuse and cut connections, as a dead host does
//	p.Delay(3 * time.Second) // answer late, as a drowning one does
//	p.Heal()
//
// The proxy is Shopify's toxiproxy, run inside the calling process.
package fault

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

const op = "shop/fault"

// Proxy forwards one address to another until told otherwise. It is safe for
// concurrent use; its owner calls Close.
type Proxy struct {
	mu      sync.Mutex
	proxy   *toxiproxy.Proxy
	delayed bool
	closed  bool
}

// Listen starts forwarding from listen to upstream. It fails when listen is
// taken; upstream need not be there yet.
func Listen(name, listen, upstream string) (*Proxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{proxy: toxiproxy.NewProxy(server, name, listen, upstream)}
	if err := p.proxy.Start(); err != nil {
		return nil, fmt.Errorf("%s: proxy for %s: %w", op, name, err)
	}
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.proxy.Listen }

// Cut closes every connection and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.proxy.Stop()
	}
}

// Delay holds back everything upstream sends by d, on open connections and on
// new ones, until Heal.
func (p *Proxy) Delay(d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delayed {
		return nil
	}
	toxic := fmt.Sprintf(`{"name":"late","type":"latency","stream":"downstream","attributes":{"latency":%d}}`, d.Milliseconds())
	if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		return fmt.Errorf("%s: delay: %w", op, err)
	}
	p.delayed = true
	return nil
}

// Heal undoes Cut and Delay.
func (p *Proxy) Heal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("%s: heal: the proxy is closed", op)
	}
	if p.delayed {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.proxy.Toxics.RemoveToxic(ctx, "late"); err != nil {
			return fmt.Errorf("%s: heal: %w", op, err)
		}
		p.delayed = false
	}
	if err := p.proxy.Start(); err != nil && err != toxiproxy.ErrProxyAlreadyStarted {
		return fmt.Errorf("%s: heal: %w", op, err)
	}
	return nil
}

// Close stops the proxy for good. It may be called twice.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.proxy.Stop()
}
