#!/usr/bin/env bash
# Writes all generated Go code anew. Needs protoc (Debian: protobuf-compiler);
# the plug-ins are built from the versions in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v protoc >/dev/null || { echo "gen: protoc is missing; install protobuf-compiler" >&2; exit 2; }
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOWORK=off go build -C tools -o "$bin/" google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
export PATH=$bin:$PATH
m=github.com/surefoot-go/surefoot
# The path inside protobuf's process-wide registry is the package's, not the
# folder's, so that no other chain.proto clashes with it.
protoc -I surefoot/errs/v1=grpcx/errsv1 --go_out=grpcx --go_opt=module=$m/grpcx surefoot/errs/v1/chain.proto
protoc -I shop/proto --go_out=shop --go_opt=module=$m/shop --go-grpc_out=shop --go-grpc_opt=module=$m/shop shop/proto/shop/v1/*.proto
go test ./internal/arch -run TestSurface -update
