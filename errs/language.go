package errs

import (
	"slices"
	"strings"
)

// Limits on an Accept-Language header. What is beyond them is not looked at.
const (
	maxAccept = 1024 // bytes of one value
	maxValues = 8
	maxRanges = 16
)

// wanted reads Accept-Language values: the language ranges in lower case, the
// most wanted first, in their order where equal; without those of weight 0, and
// without what RFC 9110 (12.4.2, 12.5.4) would not have.
func wanted(accept []string) []string {
	var heard [maxRanges]struct {
		tag string
		q   int
	}
	list := heard[:0]
	for _, line := range accept[:min(len(accept), maxValues)] {
		for item := range strings.SplitSeq(line[:min(len(line), maxAccept)], ",") {
			tag, weight, weighted := strings.Cut(item, ";")
			tag, q := strings.ToLower(strings.Trim(tag, " \t")), 1000
			if weighted {
				q = thousandths(strings.Trim(weight, " \t"))
			}
			if q <= 0 || tag != "*" && !validTag(tag) {
				continue
			}
			if len(list) == maxRanges {
				break
			}
			list = append(list, struct {
				tag string
				q   int
			}{tag, q})
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b struct {
		tag string
		q   int
	}) int {
		return b.q - a.q
	})
	tags := make([]string, len(list))
	for i, r := range list {
		tags[i] = r.tag
	}
	return tags
}

// thousandths reads "q=0.8" as 800; -1 if it is not a weight.
func thousandths(s string) int {
	if len(s) < 3 || len(s) > 7 || s[0]|0x20 != 'q' || s[1] != '=' {
		return -1
	}
	whole, rest := s[2], s[3:]
	if rest != "" && rest[0] != '.' {
		return -1
	}
	n, unit := 0, 100
	for i := 1; i < len(rest); i++ {
		if rest[i] < '0' || rest[i] > '9' {
			return -1
		}
		n, unit = n+int(rest[i]-'0')*unit, unit/10
	}
	switch {
	case whole == '0':
		return n
	case whole == '1' && n == 0:
		return 1000
	}
	return -1
}

// validTag says whether s has the shape of a language tag, BCP 47: subtags of
// 1 to 8 letters and digits, the first of letters, 35 bytes in all.
func validTag(s string) bool {
	if len(s) == 0 || len(s) > 35 {
		return false
	}
	for i, sub := range strings.Split(s, "-") {
		if len(sub) == 0 || len(sub) > 8 {
			return false
		}
		for j := range len(sub) {
			c := sub[j] | 0x20
			if (c < 'a' || c > 'z') && (i == 0 || sub[j] < '0' || sub[j] > '9') {
				return false
			}
		}
	}
	return true
}

// primary is the language of a tag, in lower case: "zh" of "zh-Hant-TW".
func primary(tag string) string {
	lang, _, _ := strings.Cut(tag, "-")
	return strings.ToLower(lang)
}

// alike returns the tags that serve one who wants a tag, best first: itself,
// then with its last subtag cut off and so on (RFC 4647, lookup), for Chinese
// the script that its region writes in between, and "" for any of the language.
func alike(want string) []string {
	tags := make([]string, 0, 8)
	for rest := want; rest != ""; {
		tags = append(tags, rest)
		switch rest {
		case "zh-tw", "zh-hk", "zh-mo":
			tags = append(tags, "zh-hant")
		case "zh-cn", "zh-sg", "zh-my":
			tags = append(tags, "zh-hans")
		case "zh-hant":
			tags = append(tags, "zh-tw", "zh-hk")
		case "zh-hans":
			tags = append(tags, "zh-cn")
		}
		i := strings.LastIndexByte(rest, '-')
		rest = rest[:max(i, 0)]
	}
	if want == "zh" {
		tags = append(tags, "zh-hans", "zh-cn")
	}
	return append(tags, "")
}
