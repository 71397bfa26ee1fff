//go:build !zrpc

package main

// zrpcServer is go-zero's gRPC server, in programs built with the tag zrpc: it
// brings Kubernetes' client along.
func zrpcServer(float64) start { return nil }
