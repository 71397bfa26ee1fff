package vitals_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/vitals"
)

func ExampleBoard() {
	now := time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)
	var b vitals.Board
	b.Fold([]store.Log{{
		Resource: store.Resource{Service: "order", Version: "v1.8", Instance: "order-1"}, At: now,
		Body: "+4,812 goroutines created at order/outbox.go:88",
		Attrs: map[string]string{
			"surefoot.finding": "goroutines", "surefoot.finding.id": "g-1", "surefoot.finding.state": "open",
			"surefoot.finding.value": "5812", "surefoot.finding.before": "1000",
		},
	}}, now)
	symptoms, _ := b.Step(now)
	for _, s := range symptoms {
		fmt.Println(s.Target, s.Finding.Version, s.Metric, s.Value, s.Finding.Text)
	}
	symptoms, _ = b.Step(now.Add(90 * time.Second))
	fmt.Println(len(symptoms), "after 90 s of silence")
	// Output:
	// order v1.8 goroutine_leak 5812 +4,812 goroutines created at order/outbox.go:88
	// 0 after 90 s of silence
}
