package push_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/server/push"
)

// A value that makes half of the calls fail gets as far as one instance.
func Example() {
	now := time.Date(2026, 11, 24, 4, 5, 6, 0, time.UTC)
	m := push.New("9f3c", push.Plan{}, now, push.Count{})
	for range 60 { // seconds
		now = now.Add(time.Second)
		one := push.Instance{ID: "order-1", Seen: now, Checked: 7, Revision: 7, Calls: 10, Errors: 5}
		other := push.Instance{ID: "order-2", Seen: now, Checked: 7, Calls: 10}
		a := m.Step(now, push.Sample{First: 7, Revision: 7, Instances: []push.Instance{one, other}})
		switch a.Verdict {
		case push.Move:
			fmt.Println("run it on", a.Instances)
		case push.Rollback:
			fmt.Println(a.Reason)
			return
		}
	}
	// Output:
	// run it on [order-1]
	// error share 50 % (55 of 110 calls), over 3 %; the other instances have 0 %
}
