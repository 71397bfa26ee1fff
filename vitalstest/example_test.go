package vitalstest_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/surefoot-go/surefoot/vitalstest"
)

// forget is what is wrong with this code: nobody receives.
func forget() {
	answers := make(chan int)
	go func() { answers <- 42 }()
}

// A test would call vitalstest.Check(t); here is what it would then say.
func Example() {
	t := newTest("TestForget")
	t.run(func() {
		vitalstest.Settings{Wait: -1}.Check(t)
		forget()
		t.until("chan send", 1)
	})
	fmt.Println(regexp.MustCompile(`:\d+`).ReplaceAllString(t.said, ":N"))
	// Output:
	// TestForget left 1 goroutine behind:
	//   1 goroutine, created at vitalstest/example_test.go:N in github.com/surefoot-go/surefoot/vitalstest_test.forget
	//     now: chan send, at vitalstest/example_test.go:N
	//       github.com/surefoot-go/surefoot/vitalstest_test.forget.func1 (vitalstest/example_test.go:N)
	// If they may stay: vitalstest.Settings{Allow: []string{"github.com/surefoot-go/surefoot/vitalstest_test.forget"}}
}

// Every test of a package whose TestMain says so is looked at.
func ExampleMain() {
	_ = func(m *testing.M) int { return vitalstest.Main(m) } // os.Exit(vitalstest.Main(m))
}
