package seal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// Both sides have the same key; what is between them sees sizes and times only.
func Example() {
	keys := seal.Keys{Keys: []seal.Key{{ID: "2026-11", Secret: seal.NewSecret()}}}
	ring, err := seal.NewKeyring(keys)
	if err != nil {
		log.Fatal(err)
	}
	here, there := net.Pipe() // or net.Dial and Accept
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := seal.Server(context.Background(), there, seal.Config{Keys: ring, Service: "payment"})
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		for {
			b, err := c.ReadRecord()
			if errors.Is(err, io.EOF) {
				return
			}
			fmt.Printf("%s, from %s under key %s\n", b, c.Peer().Identity, c.Peer().KeyID)
		}
	}()

	c, err := seal.Client(context.Background(), here, seal.Config{Keys: ring, Service: "payment", Identity: "order"})
	if err != nil {
		log.Fatal(err)
	}
	b := seal.NewBuffer(c.MaxPayload())
	b = append(b, "many small messages, one record"...)
	if err := c.WriteRecord(b); err != nil {
		log.Fatal(err)
	}
	c.Close()
	<-done
	fmt.Println(keys.Keys[0].Secret)
	// Output:
	// many small messages, one record, from order under key 2026-11
	// [secret]
}
