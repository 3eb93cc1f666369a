package s3err

import (
	"errors"
	"fmt"
)

// fault is an error that knows its kind.
type fault struct {
	kind Kind
	text string
	err  error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

// Errorf is fmt.Errorf for an error of that kind.
func Errorf(kind Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &fault{kind: kind, text: err.Error(), err: errors.Unwrap(err)}
}

// HasKind tells whether err was made by Errorf, so that what is around it
// needs no look.
func HasKind(err error) bool {
	var f *fault
	return errors.As(err, &f)
}
