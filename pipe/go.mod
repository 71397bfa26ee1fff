module github.com/surefoot-go/surefoot/pipe

go 1.26.0

require (
	github.com/flynn/noise v1.1.0
	github.com/surefoot-go/surefoot v0.0.0
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/metric v1.47.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
