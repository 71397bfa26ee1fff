package detect_test

import (
	"fmt"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// Forty seconds of 20 good calls each, then every call fails.
func Example() {
	var d detect.Detector
	bank := topology.Stat{Target: "bank", Kind: topology.External, View: topology.Callers}
	start := time.Date(2026, 11, 23, 4, 5, 0, 0, time.UTC)
	for s := range 60 {
		bank.Calls += 20
		bank.Latency[10] += 20
		if s >= 40 {
			bank.Errors += 20
		}
		now := start.Add(time.Duration(s) * time.Second)
		if symptoms := d.Step(now, []topology.Stat{bank}); len(symptoms) > 0 {
			fmt.Printf("second %d: %s %s %.0f %%, since second %.0f\n", s,
				symptoms[0].Target, symptoms[0].Metric, 100*symptoms[0].Value, symptoms[0].Since.Sub(start).Seconds())
			return
		}
	}
	// Output: second 41: bank error_share 100 %, since second 40
}
