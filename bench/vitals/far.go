package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// far is the other service: it prints its addresses and serves until its
// standard input ends. /large has more than a connection's buffers hold, /hang
// never answers, / answers at once.
func far() error {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	large := strings.Repeat("x", 64<<10)
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, large) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	loose(func() { _ = http.Serve(web, mux) })
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	loose(func() { _ = s.Serve(rpc) })
	fmt.Println(web.Addr(), rpc.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
