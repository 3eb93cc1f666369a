package snapshotter

import (
	"fmt"
	"runtime/debug"

	"github.com/sirupsen/logrus"
)

// contained is work for a goroutine of its own. A panic there would end the plugin,
// and with it every call under way; it is logged instead. what names the work.
func contained(log logrus.FieldLogger, what string, work func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				log.WithError(fmt.Errorf("panic: %v\n%s", p, debug.Stack())).Error(what + " has ended too early")
			}
		}()
		work()
	}
}
