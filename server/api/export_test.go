package api

// Patterns lists what Handler serves, as http.ServeMux patterns.
func Patterns() []string {
	var out []string
	for _, r := range new(API).table() {
		out = append(out, r.pattern)
	}
	return out
}
