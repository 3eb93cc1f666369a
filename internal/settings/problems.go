package settings

import (
	"fmt"
	"strings"
)

// Problems collects all that is wrong with a config, so that one reading fixes
// it. The zero value is ready to use.
type Problems struct {
	list []string
}

// Add notes that value does not fit key, and what is accepted there. A value
// that is a secret must not be given; one that only looks so is not printed.
func (p *Problems) Add(key, value, accepted string) {
	if LooksSecret(value) {
		value = redacted
	}
	p.Addf("%s: %q is not accepted; it takes %s", key, value, accepted)
}

// Addf notes a problem in words of its own, which must name the key or keys.
func (p *Problems) Addf(format string, args ...any) {
	p.list = append(p.list, fmt.Sprintf(format, args...))
}

// Needs notes a problem where key is set and what it needs is not.
func (p *Problems) Needs(set, has bool, key, other string) {
	if set && !has {
		p.Addf("%s: needs %s", key, other)
	}
}

// Err returns nil when there are no problems, and p otherwise.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	return p
}

// Error lists the problems, separated by semicolons: Velero shows an error on
// one line.
func (p *Problems) Error() string {
	return "config: " + strings.Join(p.list, "; ")
}

func (p *Problems) unknown(key string, fields []field) {
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	if near := Nearest(key, known); near != "" {
		p.Addf("%s: unknown key; did you mean %s?", key, near)
		return
	}
	p.Addf("%s: unknown key; known are %s", key, strings.Join(known, ", "))
}

// Nearest returns the known word that is at most a third of its letters away
// from word, or "". A * at the end of a known word is none of its letters.
func Nearest(word string, known []string) string {
	best, least := "", len(word)
	for _, k := range known {
		name := strings.TrimSuffix(k, "*")
		d := distance(strings.ToLower(word), strings.ToLower(name))
		if d < least && d <= (len(name)+2)/3 {
			best, least = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func quotedList(list []string) string {
	var quoted []string
	for _, word := range list {
		quoted = append(quoted, fmt.Sprintf("%q", word))
	}
	return strings.Join(quoted, ", ")
}
