package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server"
)

// A whole control plane inside a program, on free ports and in a temporary
// folder, as a test would run it.
func ExampleServer() {
	dir, err := os.MkdirTemp("", "plane-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	const free = "127.0.0.1:0"
	s := &server.Server{
		Dir: dir, Addr: free, OTLPGRPC: free, OTLPHTTP: free, Etcd: free, EtcdPeer: free,
		Log: slog.New(slog.DiscardHandler),
	}
	ctx, stop := context.WithCancel(context.Background())
	run := safe.Go(ctx, "plane", s.Run)
	select {
	case <-s.Ready():
		resp, err := http.Get("http://" + s.Addrs().Addr + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			fmt.Println(resp.Status)
		}
	case <-run.Done():
	}
	stop()
	fmt.Println(run.Wait())
	// Output:
	// 200 OK
	// <nil>
}
