package drill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Test is the user's, of what was restored.
type Test interface {
	// run runs the test. It returns a failed where the test itself says no, and
	// another error where it could not be run. Where ctx ends first, detail says what
	// was waited for, if that is known.
	run(ctx context.Context, c *Cluster, p place) (detail string, err error)
}

// notStarted is the error of a test of which nothing has run yet.
type notStarted struct{ error }

func (n *notStarted) Unwrap() error { return n.error }

// place is where a test looks.
type place struct {
	drill, backup string
	// namespaces are those to look into by those of the backup.
	namespaces map[string]string
}

// failed says that a test was run and did not succeed.
type failed struct{ why string }

func (f *failed) Error() string { return f.why }

// emptyTimeout is how long a test may take in the control. There it may wait for
// what never comes.
const emptyTimeout = time.Minute

// mustFail runs the test in the control, and wants it to fail.
func (d *drill) mustFail(ctx context.Context) (how string, err error) {
	nothing := map[string]string{}
	for name := range d.report.Namespaces {
		nothing[name] = d.control()
	}
	allowed := min(emptyTimeout, d.o.TestTimeout)
	within, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	detail, err := d.o.Test.run(within, d.Cluster, place{d.report.Drill, d.name, nothing})
	var no *failed
	switch {
	case err == nil:
		return "", check.Fail("the test succeeds in an empty namespace, so it cannot fail", "have it ask for something that only the restored application has, in the namespaces that it is given")
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &no):
		return no.why, nil
	case within.Err() != nil:
		if errors.As(err, new(*notStarted)) {
			allowed = 0
		}
		d.endless = &allowed
		return withDetail("it does not end", detail), nil
	}
	return "", check.Fail("the test could not be run: "+err.Error(), "")
}

// test runs the user's test on what was restored.
func (d *drill) test(ctx context.Context) (string, error) {
	if d.o.Test == nil {
		return "", check.Skip("there is none: only the drill's own markers were looked for")
	}
	within, cancel := context.WithTimeout(ctx, d.o.TestTimeout)
	defer cancel()
	began := time.Now()
	detail, err := d.o.Test.run(within, d.Cluster, place{d.report.Drill, d.name, d.report.Namespaces})
	var no *failed
	switch {
	case err == nil && d.endless != nil && time.Since(began) >= *d.endless:
		return "", check.Warn(detail+"; whether the test can fail is not proven, since in the empty namespace it did not run as long as it takes to succeed",
			"have it fail in less than "+emptyTimeout.String()+" where nothing is there; see the step able to fail")
	case err == nil:
		return detail, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &no):
		return "", check.Fail(no.why, "the restore ended well, and what came back is not what the test wants")
	case within.Err() != nil:
		return "", check.Fail(withDetail(fmt.Sprintf("the test did not end in %s", d.o.TestTimeout), detail), "it has --test-timeout")
	}
	return "", check.Fail("the test could not be run: "+err.Error(), "")
}

// longestText is how much of a text from elsewhere is told, in characters.
const longestText = 400

// clean makes text from elsewhere fit one line: nothing that is not printed, and of
// what is too long the end.
func clean(text string) string {
	runes := []rune(check.OneLine(text))
	if len(runes) > longestText {
		return "…" + string(runes[len(runes)-longestText:])
	}
	return string(runes)
}

// withDetail adds what more is known, if anything is.
func withDetail(text, detail string) string { return strings.TrimSuffix(text+": "+detail, ": ") }
