package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// figure is what one story came to: one line of JSON that the tests write and
// the program reads.
type figure struct {
	Table   string             `json:"table"`
	Case    string             `json:"case"`
	Library string             `json:"library"`
	Seed    uint64             `json:"seed"`
	Values  map[string]float64 `json:"values"`
	Line    []float64          `json:"line,omitempty"` // share of the calls that succeed, by slice of 250ms
}

// figures are all stories of a run.
type figures []figure

func read(r io.Reader) (figures, error) {
	var all figures
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var f figure
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("figure %d: %w", len(all)+1, err)
		}
		all = append(all, f)
	}
	return all, lines.Err()
}

// of are the stories of one cell of a table, one a seed.
func (all figures) of(table, which, library string) figures {
	var some figures
	for _, f := range all {
		if f.Table == table && f.Case == which && f.Library == library {
			some = append(some, f)
		}
	}
	return some
}

// libraries are those of a table, in the order they ran.
func (all figures) libraries(table string) []string {
	var names []string
	for _, f := range all {
		if f.Table == table && !slices.Contains(names, f.Library) {
			names = append(names, f.Library)
		}
	}
	return names
}

// values are those of the stories that have it, in order.
func (all figures) values(name string) []float64 {
	var vs []float64
	for _, f := range all {
		if v, ok := f.Values[name]; ok {
			vs = append(vs, v)
		}
	}
	slices.Sort(vs)
	return vs
}

// median is that of the stories' values; of an even number, the lower middle
// one; 0 if there is none.
func (all figures) median(name string) float64 {
	vs := all.values(name)
	if len(vs) == 0 {
		return 0
	}
	return vs[(len(vs)-1)/2]
}

func (all figures) worst(name string) float64 {
	vs := all.values(name)
	if len(vs) == 0 {
		return 0
	}
	return vs[len(vs)-1]
}
