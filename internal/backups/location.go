package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// Store is what is asked of an object store.
type Store interface {
	// GetObject opens an object. It is whole, or a Read is an error.
	GetObject(ctx context.Context, bucket, key string) (io.ReadCloser, error)
	// ListObjects returns all keys that begin so.
	ListObjects(ctx context.Context, bucket, prefix string) ([]string, error)
	// ListCommonPrefixes returns the folders directly under prefix.
	ListCommonPrefixes(ctx context.Context, bucket, prefix, delimiter string) ([]string, error)
}

// Location is a backup storage location.
type Location struct {
	store          Store
	bucket, prefix string
	opened         func(part Part, encrypted bool) // nil to tell nobody
}

// At returns the location at a prefix of a bucket. It asks nothing.
func At(store Store, bucket, prefix string) *Location {
	return &Location{store: store, bucket: strings.Trim(bucket, "/"), prefix: under(prefix)}
}

// Bucket is the bucket of the location.
func (l *Location) Bucket() string { return l.bucket }

// Prefix is how all its keys begin: "", or with a slash at the end.
func (l *Location) Prefix() string { return l.prefix }

// Missing says that a location has no backup or restore of that name.
type Missing struct {
	What string // "backup", "restore" or "backup or restore"
	Name string
	// Like are existing names, the most alike first; Total is how many there are.
	Like  []string
	Total int
}

// Error names what is there instead.
func (m *Missing) Error() string {
	text := fmt.Sprintf("there is no %s %q", m.What, m.Name)
	switch {
	case m.Total == 0:
		return text + "; the location has none"
	case len(m.Like) == 0:
		return fmt.Sprintf("%s among the %d of the location", text, m.Total)
	}
	return text + "; did you mean " + strings.Join(m.Like, ", ") + "?"
}

// Names returns the names of all backups, in their order. A folder without
// velero-backup.json counts: Velero looks into it each minute.
func (l *Location) Names(ctx context.Context) ([]string, error) {
	return l.names(ctx, backupsFolder)
}

// Restores returns the names of all restores that left anything, in their order.
func (l *Location) Restores(ctx context.Context) ([]string, error) {
	return l.names(ctx, restoresFolder)
}

func (l *Location) names(ctx context.Context, folder string) ([]string, error) {
	prefixes, err := l.store.ListCommonPrefixes(ctx, l.bucket, l.prefix+folder, "/")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, prefix := range prefixes {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(prefix, l.prefix+folder), "/"))
	}
	return names, nil
}

// Strangers returns the folders at the top of the location that Velero does not
// know. It calls a location that has any Unavailable.
func (l *Location) Strangers(ctx context.Context) ([]string, error) {
	names, err := l.names(ctx, "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(folders, name) }), nil
}

// Objects returns the names of the objects in a backup's folder, in their order.
func (l *Location) Objects(ctx context.Context, backup string) ([]string, error) {
	return l.objects(ctx, backupsFolder+backup+"/")
}

func (l *Location) objects(ctx context.Context, folder string) ([]string, error) {
	keys, err := l.store.ListObjects(ctx, l.bucket, l.prefix+folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range keys {
		names = append(names, strings.TrimPrefix(key, l.prefix+folder))
	}
	slices.Sort(names)
	return names, nil
}

// Stored is an object in the folder of a backup or a restore.
type Stored struct {
	Key   string // in the bucket
	Known bool   // it is one of those that Velero writes
}

// BackupFolder returns all that is stored in a backup's folder, in its order.
func (l *Location) BackupFolder(ctx context.Context, backup string) ([]Stored, error) {
	return l.folder(ctx, backupsFolder+backup+"/", func(name string) bool { return isBackupPart(backup, name) })
}

// RestoreFolder returns all that is stored in a restore's folder, in its order.
func (l *Location) RestoreFolder(ctx context.Context, restore string) ([]Stored, error) {
	return l.folder(ctx, restoresFolder+restore+"/", func(name string) bool { return isRestorePart(restore, name) })
}

func (l *Location) folder(ctx context.Context, folder string, known func(name string) bool) ([]Stored, error) {
	names, err := l.objects(ctx, folder)
	if err != nil {
		return nil, err
	}
	var all []Stored
	for _, name := range names {
		all = append(all, Stored{l.prefix + folder + name, known(name)})
	}
	return all, nil
}

// Find returns nil if there is a backup of that name, and else a [Missing] or what
// kept it from being looked for.
func (l *Location) Find(ctx context.Context, backup string) error {
	names, err := l.Names(ctx)
	if err != nil || slices.Contains(names, backup) {
		return err
	}
	return missing("backup", backup, names)
}

// Known tells whether there is a backup of that name, and whether a restore. If
// there is neither, it is a [Missing].
func (l *Location) Known(ctx context.Context, name string) (backup, restore bool, err error) {
	backups, err := l.Names(ctx)
	if err != nil {
		return false, false, err
	}
	restores, err := l.Restores(ctx)
	if err != nil {
		return false, false, err
	}
	backup, restore = slices.Contains(backups, name), slices.Contains(restores, name)
	if !backup && !restore {
		return false, false, missing("backup or restore", name, append(backups, restores...))
	}
	return backup, restore, nil
}

// WhenOpened is the location with an observer who is told of each part of a backup
// that is opened, and whether the plugin had it encrypted.
func (l *Location) WhenOpened(tell func(part Part, encrypted bool)) *Location {
	observed := *l
	observed.opened = tell
	return &observed
}

// Open opens a part of a backup. It is a [Missing] if there is no such backup.
func (l *Location) Open(ctx context.Context, backup string, part Part) (io.ReadCloser, error) {
	r, err := l.store.GetObject(ctx, l.bucket, l.key(backup, part))
	if IsMissing(err) {
		if none := l.Find(ctx, backup); none != nil {
			return nil, none
		}
	}
	if told, ok := r.(interface{ Encrypted() bool }); ok && err == nil && l.opened != nil {
		l.opened(part, told.Encrypted())
	}
	return r, err
}

// IsMissing tells whether err says that an object, and nothing else, is missing.
func IsMissing(err error) bool { return objectstore.KindOf(err) == objectstore.KindNotFound }

// few is how many names a Missing tells.
const few = 3

func missing(what, name string, names []string) *Missing {
	m := &Missing{What: what, Name: name, Total: len(names)}
	rest := slices.Clone(names)
	for len(m.Like) < few {
		near := settings.Nearest(name, rest)
		if near == "" {
			break
		}
		m.Like = append(m.Like, near)
		rest = slices.DeleteFunc(rest, func(n string) bool { return n == near })
	}
	for _, n := range slices.Backward(rest) { // the newest of a schedule first
		if len(m.Like) < few && (strings.HasPrefix(n, name) || (strings.HasPrefix(name, n) && n != "")) {
			m.Like = append(m.Like, n)
		}
	}
	if len(m.Like) == 0 && len(names) <= few {
		m.Like = names
	}
	return m
}

// asMissing returns the Missing in err, if it is one.
func asMissing(err error) (*Missing, bool) {
	var m *Missing
	return m, errors.As(err, &m)
}
