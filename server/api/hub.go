package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// Hub passes events to the browsers that listen, as server-sent events. Each
// client has its own bounded queue; one that falls further behind than its
// queue is dropped and counted (a browser reconnects by itself and is then
// given the current state), so a slow client costs the others nothing.
//
// The zero value is ready. A Hub is safe for concurrent use and starts no
// goroutine: each client is served by its own request.
type Hub struct {
	Buffer    int           // events a client may lag behind; 0 means 16
	Heartbeat time.Duration // silence after which a comment is sent; 0 means 15s
	Clients   int           // most clients at once, further ones are refused with 503; 0 means 256
	Patience  time.Duration // longest one write may take before the client is dropped; 0 means 10s

	mu      sync.Mutex
	clients map[*client]struct{}
	state   map[string]*frame
	order   []string // of state's keys, as first seen
	closed  bool
	dropped int64
}

type client struct {
	queue chan []byte
	gone  chan struct{} // closed when dropped or when the hub closes
}

// frame is one event, encoded when somebody first listens.
type frame struct {
	event string
	value any
	once  sync.Once
	text  []byte
}

func (f *frame) bytes() []byte {
	f.once.Do(func() {
		data, err := json.Marshal(f.value)
		if err != nil { // a value that has no JSON form is a programmer's mistake; say it where it is seen
			data, _ = json.Marshal(map[string]string{"error": "internal_error", "message": "event has no JSON form"})
		}
		f.text = fmt.Appendf(nil, "event: %s\ndata: %s\n\n", f.event, data)
		f.value = nil
	})
	return f.text
}

// Publish sends v, as JSON, to every client listening now. It never blocks.
// The caller must not change v afterwards.
func (h *Hub) Publish(event string, v any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.send(&frame{event: event, value: v})
}

// State is Publish for a value that stands until the next one of the same
// event: a client that connects later is given the newest at once.
func (h *Hub) State(event string, v any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == nil {
		h.state = make(map[string]*frame)
	}
	if _, seen := h.state[event]; !seen {
		h.order = append(h.order, event)
	}
	f := &frame{event: event, value: v}
	h.state[event] = f
	h.send(f)
}

func (h *Hub) send(f *frame) {
	for c := range h.clients {
		select {
		case c.queue <- f.bytes():
		default:
			h.dropped++
			h.drop(c)
		}
	}
}

func (h *Hub) drop(c *client) {
	if _, here := h.clients[c]; here {
		delete(h.clients, c)
		close(c.gone)
	}
}

// Dropped counts the clients dropped because they were too slow.
func (h *Hub) Dropped() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

// Close ends every client's stream and refuses new ones. It does not wait for
// their requests to return: http.Server.Shutdown does.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.clients {
		h.drop(c)
	}
}

func (h *Hub) join() (*client, []*frame, error) {
	const op = "api.Events"
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errs.New(errs.Unavailable, op, "the control plane is stopping")
	}
	if len(h.clients) >= or(h.Clients, 256) {
		return nil, nil, errs.New(errs.Unavailable, op, "too many clients listen for events").RetryAfter(5 * time.Second)
	}
	c := &client{queue: make(chan []byte, or(h.Buffer, 16)), gone: make(chan struct{})}
	if h.clients == nil {
		h.clients = make(map[*client]struct{})
	}
	h.clients[c] = struct{}{}
	first := make([]*frame, 0, len(h.order))
	for _, event := range h.order {
		first = append(first, h.state[event])
	}
	return c, first, nil
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(c)
}

// serve streams events to one client until it leaves, is dropped, or the hub
// closes. Those ends are not errors; only a refusal at the door is.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) error {
	c, first, err := h.join()
	if err != nil {
		return err
	}
	defer h.leave(c)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a reverse proxy must not collect events
	out := http.NewResponseController(w)
	write := func(b []byte) bool {
		// Not every writer has deadlines (a test's recorder has none); where
		// there are, they stop a client that no longer reads.
		_ = out.SetWriteDeadline(time.Now().Add(or(h.Patience, 10*time.Second)))
		_, err := w.Write(b)
		return err == nil && out.Flush() == nil
	}
	if !write([]byte("retry: 2000\n\n")) {
		return nil
	}
	for _, f := range first {
		if !write(f.bytes()) {
			return nil
		}
	}
	beat := or(h.Heartbeat, 15*time.Second)
	idle := time.NewTimer(beat)
	defer idle.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-c.gone:
			return nil
		case b := <-c.queue:
			if !write(b) {
				return nil
			}
		case <-idle.C:
			if !write([]byte(": still here\n\n")) {
				return nil
			}
		}
		idle.Reset(beat)
	}
}

// or returns v, or def when v is zero or less.
func or[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
