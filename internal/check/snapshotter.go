package check

import (
	"context"

	"github.com/sirupsen/logrus"
)

// Full is the part of a check that makes a volume.
type Full struct {
	Wanted       bool
	StorageClass string
	Size         string
}

// Snapshotter checks.
func Snapshotter(ctx context.Context, c *Cluster, l *Location, full Full, log logrus.FieldLogger, observer Observer) []Result {
	return nil
}
