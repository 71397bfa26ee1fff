package supervise

import (
	"bytes"
	"encoding/json"
	"runtime/pprof"
	"strconv"
	"strings"
)

// Goroutines counts the goroutines of this process by the name they were
// started with under safe.Go or in a Tree, in full; a goroutine started by
// another has its name. Those without one count under "". It stops the world
// for a moment, so call it once in a while and not once a request.
func Goroutines() map[string]int {
	var text bytes.Buffer
	if p := pprof.Lookup("goroutine"); p == nil || p.WriteTo(&text, 1) != nil {
		return nil
	}
	out := map[string]int{}
	count, name := 0, ""
	done := func() {
		if count > 0 {
			out[name] += count
		}
		count, name = 0, ""
	}
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if labels, ok := strings.CutPrefix(line, "# labels: "); ok {
			var set map[string]string
			if json.Unmarshal([]byte(labels), &set) == nil {
				name = set["surefoot.goroutine"]
			}
			continue
		}
		if n, _, ok := strings.Cut(line, " @ "); ok {
			done()
			count, _ = strconv.Atoi(n)
		}
	}
	done()
	return out
}
