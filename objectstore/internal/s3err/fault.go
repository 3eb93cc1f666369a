package s3err

import (
	"errors"
	"fmt"
)

// fault is an error that knows its kind, and perhaps better advice than its
// kind has.
type fault struct {
	kind Kind
	hint string
	text string
	err  error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

// Errorf is fmt.Errorf for an error of that kind.
func Errorf(kind Kind, format string, args ...any) error {
	return Hinted(kind, "", format, args...)
}

// Hinted is Errorf for an error that says itself what to do.
func Hinted(kind Kind, hint, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &fault{kind: kind, hint: hint, text: err.Error(), err: errors.Unwrap(err)}
}

// HasKind tells whether err was given its kind by Errorf, Hinted or Refusal,
// so that nothing below it needs a look.
func HasKind(err error) bool {
	var f *fault
	var a *Answer
	return errors.As(err, &f) || errors.As(err, &a)
}
