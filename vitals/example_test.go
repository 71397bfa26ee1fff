package vitals_test

import (
	"context"
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/vitals"
)

func Example() {
	w := &vitals.Watch{Version: "v1.8"}
	ctx, cancel := context.WithCancel(context.Background())
	task := safe.Go(ctx, "vitals", w.Run)

	fmt.Println(len(w.Findings()), "findings") // as at /debug/vitals of package service

	cancel()
	fmt.Println(task.Wait())
	// Output:
	// 0 findings
	// <nil>
}

// A recorded hour can be judged again, with other limits.
func ExampleJudge() {
	j := vitals.Judge{Settings: vitals.Settings{GCPause: 5 * time.Millisecond}}
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for range 60 {
		now = now.Add(2 * time.Second)
		v := j.Step(now, vitals.Sample{Goroutines: 40, GCPause: 8 * time.Millisecond})
		for _, f := range v.Report {
			fmt.Println(now.Format("15:04:05"), f.Text)
		}
	}
	// Output:
	// 03:01:00 the garbage collector stops the program for 8ms at a time; 5ms is much
	// 03:01:30 the garbage collector stops the program for 8ms at a time; 5ms is much
	// 03:02:00 the garbage collector stops the program for 8ms at a time; 5ms is much
}
