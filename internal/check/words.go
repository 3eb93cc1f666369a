package check

import (
	"fmt"
	"strings"
	"unicode"
)

// Count writes a number of things, such as "1 node" or "3 nodes".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Few joins words, and of more than most of them says only how many more there are.
func Few(words []string, between string, most int) string {
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], between), len(words)-most)
	}
	return strings.Join(words, between)
}

// OneLine makes text from elsewhere fit one line, without what is not printed.
func OneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\uFFFD' || !unicode.IsPrint(r) }), " ")
}
