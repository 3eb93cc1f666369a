package backups

import (
	"context"
	"slices"
)

// kopiaFormat is the object that describes a repository of kopia, without which nobody
// opens it (https://github.com/kopia/kopia, repo/format).
const kopiaFormat = "kopia.repository"

// KopiaRepository is the folder of the location in which Velero's data movers keep what
// they saved of a namespace.
func KopiaRepository(namespace string) string { return "kopia/" + namespace + "/" }

// HasKopiaRepository tells whether the location has kopia's repository of a namespace. What
// is in it is not read: kopia encrypts it.
func (l *Location) HasKopiaRepository(ctx context.Context, namespace string) (bool, error) {
	key := l.prefix + KopiaRepository(namespace) + kopiaFormat
	keys, err := l.store.ListObjects(ctx, l.bucket, key)
	return slices.Contains(keys, key), err
}
