module github.com/surefoot-go/surefoot/shop

go 1.26

require (
	github.com/Shopify/toxiproxy/v2 v2.5.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/surefoot-go/surefoot v0.0.0
	github.com/surefoot-go/surefoot/contrib/etcd v0.0.0
	github.com/surefoot-go/surefoot/grpcx v0.0.0
	github.com/surefoot-go/surefoot/telemetry v0.0.0
	google.golang.org/grpc v1.83.2
	google.golang.org/protobuf v1.36.12
	modernc.org/sqlite v1.62.0
)
