//go:build !zrpc

package main

// zrpcCells is empty without zrpc.
var zrpcCells map[string]experiment
