package snapshotter

import (
	"slices"
	"strings"
	"time"
)

// missingGrace is how long a driver that says there is no such snapshot is asked
// again: long enough for a storage that shows a new snapshot late.
const missingGrace = 10 * time.Second

// missingMessages are the ways to say that something is not there. The first is
// csi-snapshotter's own, for a driver that lists no such snapshot; the second is
// a driver's error; no code comes with either. The third is ours. They only
// shorten a wait that ends in the same error anyway.
var missingMessages = []string{
	"can not find snapshot",
	"code = NotFound",
	storageClassGone,
}

// storageClassGone is what we say ourselves of a class that csi-provisioner needs.
const storageClassGone = "was deleted while the volume was made"

func saysMissing(message string) bool { return containsAny(message, missingMessages) }

// workingMessages are the ways to say that a call was given up while the driver
// may still be at work, as with any copy that takes longer than the ten seconds
// a sidecar waits, or that the driver is at work for an earlier call.
var workingMessages = []string{
	"code = DeadlineExceeded",
	"code = Aborted",
	"context deadline exceeded",
}

func saysWorking(message string) bool { return containsAny(message, workingMessages) }

// openMessages are the errors after which the driver may still be at work, as
// csi-snapshotter sees it; any other answer of a driver is final.
var openMessages = []string{
	"code = Canceled",
	"code = DeadlineExceeded",
	"code = Unavailable",
	"code = ResourceExhausted",
	"code = Aborted",
}

func saysFinal(message string) bool {
	return strings.Contains(message, "code = ") && !containsAny(message, openMessages)
}

func containsAny(message string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(message, part) })
}
