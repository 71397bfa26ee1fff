// Package grpcx puts the guard rails around gRPC: a server whose errors, panics
// and deadlines are in order, a client with retries and a breaker, and errors
// that keep their kind, id and chain on the way.
//
//	srv := grpc.NewServer(grpcx.Server{Service: "payment"}.Options()...)
//	err := grpcx.Listener("127.0.0.1:9090", srv).Serve(ctx)
//
//	conn, err := grpc.NewClient("127.0.0.1:9090", append(
//		grpcx.Client{Service: "order", Target: "payment"}.DialOptions(),
//		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
//
// It chooses no credentials and finds no instances: pass grpc's own options and
// target for both, or tell a Balanced which instances there are. Generated code
// needs no change.
package grpcx

//go:generate protoc -I surefoot/errs/v1=errsv1 --go_out=. --go_opt=module=github.com/surefoot-go/surefoot/grpcx surefoot/errs/v1/chain.proto
