// Package peers holds tests and benchmarks that put the policies of package
// resilience beside the libraries that do the same, in the same run:
//
//	go test ./bench/peers                     # the breaker against sony/gobreaker
//	go test -run '^$' -bench . ./bench/peers  # what one call costs, ours and theirs
//
// Benchmarks are named Policy/case/library, ours is called surefoot; the
// program bench/performance writes them down. It exports nothing, and nothing
// imports it: the peers stay in the module bench. Figures of one run compare
// with each other, not with those of another machine.
package peers
