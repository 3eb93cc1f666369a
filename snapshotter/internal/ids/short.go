package ids

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Of a long text Short keeps this much of both ends, in characters: handles of
// one storage often begin alike and differ in the end. Words keeps more.
const (
	keptHead, keptTail   = 100, 60
	wordsHead, wordsTail = 1000, 1000
	leastCut             = 40 // no text is cut for less
)

// Short returns an ID or a handle as it belongs into a log line or an error: of
// a long one only both ends, and none of the characters that change how the
// line around it is shown.
func Short(text string) string { return shorten(text, keptHead, keptTail) }

// Words returns what a driver said, as Short does a handle.
func Words(text string) string { return shorten(text, wordsHead, wordsTail) }

func shorten(text string, head, tail int) string {
	clean := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text))
	if len(clean) <= head+tail+leastCut {
		return string(clean)
	}
	return fmt.Sprintf("%s…%s (%d characters)", string(clean[:head]), string(clean[len(clean)-tail:]), len(clean))
}
