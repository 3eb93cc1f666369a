package pluginserver

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failure turns err into what Velero shows: the text, and the place it came
// from, which Velero prints as error.file and error.function (Velero,
// pkg/plugin/framework/common/client_errors.go). The place is the caller's.
func failure(err error) error { return failureAt(1, err) }

// failureAt is failure for a caller that is further out by so many functions.
func failureAt(out int, err error) error {
	if _, done := err.(interface{ GRPCStatus() *status.Status }); done { // unwrapped: a wrapper's text must not get lost
		return err
	}
	return toStatus(codes.Unknown, err.Error(), callers(3+out))
}

func toStatus(code codes.Code, text string, stack *generated.Stack) error {
	plain := status.New(code, strings.ToValidUTF8(text, "?"))
	if detailed, err := plain.WithDetails(stack); err == nil {
		return detailed.Err()
	}
	return plain.Err()
}

// callers returns the stack without its innermost skip frames.
func callers(skip int) *generated.Stack {
	counters := make([]uintptr, 32)
	frames := runtime.CallersFrames(counters[:runtime.Callers(skip, counters)])
	stack := &generated.Stack{}
	for {
		frame, more := frames.Next()
		stack.Frames = append(stack.Frames, &generated.StackFrame{
			File:     frame.File,
			Line:     int32(frame.Line), //nolint:gosec // a line number
			Function: frame.Function,
		})
		if !more {
			return stack
		}
	}
}

// recoverInto must be deferred. It turns a panic into an error with the stack
// of the panic.
func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = toStatus(codes.Aborted, fmt.Sprintf("plugin panicked: %v", p), panicSite())
	}
}

// panicSite is the stack at the panic, which recoverInto is handling: the
// frames behind runtime.gopanic.
func panicSite() *generated.Stack {
	stack := callers(3)
	for i, frame := range stack.Frames {
		if frame.Function == "runtime.gopanic" {
			return &generated.Stack{Frames: stack.Frames[i+1:]}
		}
	}
	return stack
}
