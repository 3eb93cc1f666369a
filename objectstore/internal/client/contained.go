package client

import (
	"fmt"
	"runtime/debug"
)

// Contained makes an error of a panic in step, which on a goroutine of its own
// would end the plugin. name is what the error calls it.
func Contained(name string, step func() error) func() error {
	return func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%s: panic: %v\n%s", name, r, debug.Stack())
			}
		}()
		return step()
	}
}
