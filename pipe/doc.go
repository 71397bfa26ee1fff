// Package pipe is a Go channel of bytes between services, encrypted: Send
// blocks while the other side's buffer is full, order is kept, and the other
// side sees the close after everything that was sent before it.
//
//	l, err := pipe.Listen(ctx, ":7000", pipe.Security{Keys: keys}, "orders")
//	in, err := l.Accept(ctx, "orders")
//	for m := range in.C() { handle(m.Data) }
//
//	out, err := pipe.Dial(ctx, "shop:7000", "orders", pipe.Security{Keys: keys})
//	err = out.Send(ctx, order)
//
// A service uses a Listener, which service.Service runs among its Servers, and
// a Link: one connection that many channels share, kept up for as long as the
// Link is open. A Channel goes both ways. Every wait ends with its ctx.
//
// # What a nil error of Send means
//
// Send returns nil when the message is in the window of Options.Capacity and
// Options.Bytes: on its way, or with the peer and not yet taken from its C.
// With a negative Capacity it returns when the peer has taken the message.
//
// Without Options.Ack, the messages lost are those that were in the window and
// had not reached the peer's process when the connection broke, and those in
// the memory of a process that died. Send itself waits while there is no
// connection. After a reconnect the channel goes on; the sender learns the
// number from Lost, the receiver from Missed of the next message.
//
// With Options.Ack, the sender's process keeps each message until it is
// acknowledged: when it is taken from C or, with Options.Manual, when the
// receiver calls Message.Ack. After a reconnect it sends again what had not
// arrived. So nothing is lost and nothing comes twice while both processes
// live. If the receiver's process died, or stayed away for longer than its
// Resume, all that was not acknowledged is sent to the next one; what had been
// sent before comes with Duplicate set, whether or not the dead process had
// worked on it. Without Manual a message counts as acknowledged when C hands
// it over: what a dying receiver was working on is then lost, so work that
// must not be lost wants Manual. If the sender's process dies, what was not acknowledged is
// lost with it, whatever Send returned: Flush waits until all is, and only
// then may the caller forget. A caller that sends again after its own restart
// sends duplicates that cannot be marked.
//
// # What it is not for
//
// It is not a message store: nothing is written to disk and there is no
// replay. It does not spread messages over receivers, and a request that
// expects one answer is better served by package httpx or module grpcx.
package pipe
