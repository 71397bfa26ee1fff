package grpcx_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/resilience"
)

func Example() {
	// The serving side.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := grpc.NewServer(grpcx.Server{Service: "payment"}.Options()...)
	served := make(chan error, 1)
	go func() { served <- (&grpcx.Serving{Server: srv, Listener: l}).Serve(ctx) }()

	// The calling side.
	conn, err := grpc.NewClient(l.Addr().String(), append(
		grpcx.Client{Service: "order", Target: "payment", Policy: resilience.Default()}.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	health := healthgrpc.NewHealthClient(conn)
	answer, err := health.Check(ctx, &healthgrpc.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	_, err = health.Check(ctx, &healthgrpc.HealthCheckRequest{Service: "refunds"})
	fmt.Println(errs.KindOf(err))

	stop()
	fmt.Println(<-served)
	// Output:
	// SERVING <nil>
	// not_found
	// <nil>
}

func ExampleFromError() {
	failed := errs.New(errs.Conflict, "stock.Take", "only 2 left").ID("out_of_stock").Detail("sku 7")
	st := grpcx.ToStatus(failed) // what crosses the wire
	e := grpcx.FromError(st.Err())
	fmt.Println(st.Code(), e.Kind(), e.Code(), e.Message(), e.Details(), e.Remote())
	// Output: Aborted conflict out_of_stock only 2 left [sku 7] true
}

func ExampleLanes() {
	stable, _ := grpc.NewClient("127.0.0.1:9091", grpc.WithTransportCredentials(insecure.NewCredentials()))
	canary, _ := grpc.NewClient("127.0.0.1:9092", grpc.WithTransportCredentials(insecure.NewCredentials()))
	defer stable.Close()
	defer canary.Close()
	conn := grpcx.Lanes(map[string]grpc.ClientConnInterface{"v1": stable, "v2": canary}, func(ctx context.Context) string {
		return "v1" // in a service: table.Pick("payment", flow.Labels(ctx), userID)
	})
	_ = conn // give it to generated code: paymentpb.NewPaymentClient(conn)
}
