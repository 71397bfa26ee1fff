module github.com/surefoot-go/surefoot/contrib/etcd

go 1.26

require (
	github.com/surefoot-go/surefoot v0.0.0
	go.etcd.io/etcd/api/v3 v3.7.3
	go.etcd.io/etcd/client/v3 v3.7.3
	go.uber.org/zap v1.28.0
	google.golang.org/grpc v1.83.2
)
