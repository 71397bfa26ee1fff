// Package locks measures the packages locks and locks/cache beside what others
// would take, in the same run:
//
//	go test -run '^$' -bench . -benchtime 200ms ./bench/locks  # time
//	go test -run Ratio -v ./bench/locks                        # hits of caches
//
// Benchmarks are named thing/case/library, ours is called surefoot. Figures of one run
// compare with each other, not with those of another machine. It exports nothing.
package locks
