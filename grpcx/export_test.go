package grpcx

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

var Addresses = addresses

// Settings are those in force.
func (b *Balanced) Settings() balance.Settings { return b.balancer.Settings() }

// Declared is declared with a registry of its own: the global one is shared by
// all tests of the process.
func Declared(f protoreflect.FileDescriptor, method string) bool {
	files := new(protoregistry.Files)
	if err := files.RegisterFile(f); err != nil {
		panic(err)
	}
	return declared(files, method)
}
