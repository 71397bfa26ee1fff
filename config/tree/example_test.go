package tree_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/config/tree"
)

func ExampleDecode() {
	limits := struct {
		Max  int
		Wait time.Duration
	}{20, time.Second}

	n, err := tree.JSON([]byte("{\n  \"max\": 30,\n  \"wiat\": 2\n}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tree.Decode(n, &limits, tree.File))
	fmt.Println(limits.Max)
	// Output:
	// line 3: unknown key "wiat"; did you mean wait?
	// 20
}
