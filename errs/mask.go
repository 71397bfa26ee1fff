package errs

import (
	"log/slog"
	"strings"
)

// masked is a cause as the log shows it: whole, but without the passwords that
// drivers write into the text of their errors.
func masked(cause error) slog.Value {
	if _, ok := cause.(slog.LogValuer); ok {
		return slog.AnyValue(cause) // it says itself what may be seen, as a *Error does
	}
	return slog.StringValue(withoutPasswords(cause.Error()))
}

// withoutPasswords replaces what looks like a password in an address or a
// connection string by "***": "scheme://user:password@host",
// "user:password@tcp(host)" and "password=...". It cannot know every form.
func withoutPasswords(s string) string {
	if !strings.Contains(s, "@") && !strings.Contains(s, "=") {
		return s
	}
	var b strings.Builder
	for s != "" {
		word, rest := s, ""
		if i := strings.IndexAny(s, " \t\n\"'`<>,;"); i >= 0 {
			word, rest = s[:i], s[i:]
		}
		b.WriteString(maskWord(word))
		if rest != "" {
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
		s = rest
	}
	return b.String()
}

func maskWord(w string) string {
	if at := strings.LastIndexByte(w, '@'); at > 0 {
		user := w[:at]
		start := strings.Index(user, "://") // -1 for the form without a scheme
		if start >= 0 {
			start += len("://")
		} else if start = 0; !strings.HasPrefix(w[at:], "@tcp(") && !strings.HasPrefix(w[at:], "@unix(") {
			return maskPairs(w)
		}
		if colon := strings.IndexByte(user[start:], ':'); colon >= 0 {
			w = w[:start+colon+1] + "***" + w[at:]
		}
	}
	return maskPairs(w)
}

// maskPairs masks the values of password=, passwd= and pwd=, also in the query
// of an address.
func maskPairs(w string) string {
	lower := strings.ToLower(w)
	for _, key := range []string{"password=", "passwd=", "pwd="} {
		i := strings.Index(lower, key)
		if i < 0 {
			continue
		}
		value := i + len(key)
		end := len(w)
		if j := strings.IndexByte(w[value:], '&'); j >= 0 {
			end = value + j
		}
		w = w[:value] + "***" + w[end:]
		lower = strings.ToLower(w)
	}
	return w
}
