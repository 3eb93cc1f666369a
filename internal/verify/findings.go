package verify

import (
	"fmt"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// findings are all that a step finds, so that one reading tells of all damage.
type findings struct {
	bad, odd []string
}

// fail notes what makes the step fail.
func (f *findings) fail(format string, args ...any) { f.bad = note(f.bad, format, args) }

// warn notes what is only worth knowing.
func (f *findings) warn(format string, args ...any) { f.odd = note(f.odd, format, args) }

// most is how many findings of a step are told, and names of a list.
const most = 4

// note keeps no more words than are told: an archive may have a million items.
func note(all []string, format string, args []any) []string {
	if len(all) < most {
		return append(all, fmt.Sprintf(format, args...))
	}
	return append(all, "")
}

// end is how the step ends.
func (f *findings) end(detail, hint string) (string, error) {
	switch {
	case len(f.bad) > 0:
		return "", check.Fail(few(f.bad, "; "), hint)
	case len(f.odd) > 0:
		return "", check.Warn(few(f.odd, "; "), hint)
	}
	return detail, nil
}

// list puts words into a sentence for one of them or for several.
func list(one, several string, words []string) string {
	if len(words) == 1 {
		return fmt.Sprintf(one, words[0])
	}
	return fmt.Sprintf(several, few(words, ", "))
}

// count writes what a number of things is or does, such as "1 node is" or "3 nodes are".
func count(n int, thing, one, several string) string {
	if n == 1 {
		several = one
	}
	return check.Count(n, thing) + " " + several
}

func few(words []string, between string) string { return check.Few(words, between, most) }
