// Package arch holds the project's structure as tests: who may import whom,
// what pure code may touch, what is exported and whether it is documented.
//
// The policy is rules.txt beside this file, one line a room. Edit it in the
// commit that needs it and say why there. After a wished change of an exported
// name run
//
//	go test ./internal/arch -update
//
// and read the difference in api/ before committing it.
package arch
