package ids

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Of a long text Short keeps this much of both ends, in characters: handles of
// one storage often begin alike and differ in the end.
const (
	longText = 200
	keptHead = 100
	keptTail = 60
)

// Short returns an ID or a handle as it belongs into a log line or an error: of
// a long one only both ends, and none of the characters that change how the
// line around it is shown.
func Short(text string) string {
	clean := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text))
	if len(clean) <= longText {
		return string(clean)
	}
	return fmt.Sprintf("%s…%s (%d characters)", string(clean[:keptHead]), string(clean[len(clean)-keptTail:]), len(clean))
}
