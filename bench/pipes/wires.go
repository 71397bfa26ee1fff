package main

import "context"

// wire is one way for messages from a process to another.
type wire struct {
	name  string
	ours  bool
	words string // how it is used here, for the document
	// serve receives on an address of its own until stop is called, and calls
	// take with each message, one at a time. The bytes are take's until it
	// returns.
	serve func(ctx context.Context, s setup, take func([]byte)) (addr string, stop func(), err error)
	dial  func(ctx context.Context, s setup) (sender, error)
	// broker, if there is one, is a third process that serve and dial connect to.
	broker func(s setup) (addr string, stop func(), err error)
}

// The names that goals and shares are about.
const (
	nameTCP     = "tcp"
	nameByHand  = "tcp, AES-GCM by hand"
	nameTLS     = "tls"
	nameTLSEach = "tls, a write each"
	nameBoth    = "pipe +tls +seal"
	nameBothAck = "pipe +tls +seal +ack"
	nameSeal    = "pipe +seal"
	nameSealAck = "pipe +seal +ack"
)

// wires are all there are, in the document's order.
func wires() []wire {
	return append(ours(),
		wire{name: nameTLS, words: "crypto/tls alone, TLS 1.3 with AES-128-GCM as Go chooses it: length and bytes through a bufio.Writer of 64 KiB, which is flushed when there is nothing more to send; a bufio.Reader of 64 KiB into one buffer. The yardstick: no channels, no credits, nothing to resume.",
			serve: serveTLS, dial: dialTLS(true)},
		wire{name: nameTLSEach, words: "the same with one Write for each message.", serve: serveTLS, dial: dialTLS(false)},
		wire{name: "yamux", words: "hashicorp/yamux over TLS 1.3: one stream with a window of 4 MiB, length and bytes as for tls.", serve: serveYamux, dial: dialYamux},
		wire{name: "grpc", words: "grpc-go over TLS 1.3: a client stream of google.protobuf.BytesValue, windows of 4 MiB.", serve: serveGRPC, dial: dialGRPC},
		wire{name: "nats", words: "nats.go over TLS 1.3 to a nats-server in a third process and from there over TLS 1.3 to the subscriber. NATS does not hold a publisher back, so the publisher here has at most 8 MiB or 32,768 messages under way, of which the subscriber tells it: without that it loses messages.",
			serve: serveNATS, dial: dialNATS, broker: brokerNATS},
		wire{name: nameByHand, words: "a record of up to 64 KiB sealed in place with AES-256-GCM, one Write, read whole and opened in place: what a program would do that needs nothing else. It bounds what sealing without TLS can do over a socket.",
			serve: serveByHand, dial: dialByHand},
		wire{name: nameTCP, words: "plain TCP, length and bytes as for tls: what the kernel's loopback takes.", serve: serveTCP, dial: dialTCP},
	)
}

func wireOf(name string) (wire, bool) {
	for _, w := range wires() {
		if w.name == name {
			return w, true
		}
	}
	return wire{}, false
}
