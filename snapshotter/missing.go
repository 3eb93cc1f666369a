package snapshotter

import (
	"strings"
	"time"
)

// missingGrace is how long a driver that says there is no such snapshot is asked
// again: long enough for a storage that shows a new snapshot late.
const missingGrace = 10 * time.Second

// missingMessages are the ways to say that a snapshot is not there. The first is
// csi-snapshotter's own, for a driver that lists no such snapshot; the second is
// a driver's error. No code comes with either. They only shorten a wait that
// ends in the same error anyway.
var missingMessages = []string{
	"can not find snapshot",
	"code = NotFound",
}

func saysMissing(message string) bool {
	for _, m := range missingMessages {
		if strings.Contains(message, m) {
			return true
		}
	}
	return false
}
