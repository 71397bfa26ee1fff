// Package shopv1 is the generated code of the shop's internal gRPC contracts,
// proto/shop/v1. Regenerate it with `make gen`, never by hand.
package shopv1
