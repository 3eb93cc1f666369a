package pluginserver

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// parentCheck is how often the process looks whether Velero still runs.
	parentCheck = time.Second
	// cleanUpLimit bounds how long calls may go on without Velero: they abort
	// their uploads and remove their objects.
	cleanUpLimit = 2 * time.Minute
)

// exitAfterVelero ends the process when Velero was killed, but lets the calls
// under way clean up first. Their contexts have ended with the connection.
// SIGPIPE is ignored, or the first line of log, which nobody reads any more,
// would end the process before that.
func exitAfterVelero(underWay *calls, log logrus.FieldLogger) {
	signal.Ignore(syscall.SIGPIPE)
	velero := os.Getppid()
	go func() {
		for range time.Tick(parentCheck) {
			if os.Getppid() != velero {
				exit(underWay, log)
			}
		}
	}()
}

func exit(underWay *calls, log logrus.FieldLogger) {
	defer os.Exit(0) // after a panic, too: there is nobody to tell
	log.Info("Velero is gone; ending")
	underWay.waitAtMost(cleanUpLimit)
}
