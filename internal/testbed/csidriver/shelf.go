package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// shelf holds the entries of one kind, each a folder named by its ID.
type shelf[T any] struct {
	dir      string
	tmp      string
	prefix   string
	metadata string
	validID  *regexp.Regexp
}

func newShelf[T any](root, dir, prefix, metadata string) shelf[T] {
	return shelf[T]{
		dir:      filepath.Join(root, dir),
		tmp:      filepath.Join(root, "tmp"),
		prefix:   prefix,
		metadata: metadata,
		validID:  regexp.MustCompile(`^` + prefix + `-[0-9a-f]{16}$`),
	}
}

func (s *shelf[T]) newID() string {
	var random [8]byte
	rand.Read(random[:])
	return s.prefix + "-" + hex.EncodeToString(random[:])
}

// dataPath is where the content of a complete entry lies.
func (s *shelf[T]) dataPath(id, volumeMode string) string {
	return filepath.Join(s.dir, id, dataName(volumeMode))
}

func dataName(volumeMode string) string {
	if volumeMode == modeBlock {
		return "data.img"
	}
	return "data"
}

// get returns errAbsent for an ID the storage does not hold, whatever its form.
func (s *shelf[T]) get(id string) (*T, error) {
	if !s.validID.MatchString(id) {
		return nil, fmt.Errorf("%q: %w", id, errAbsent)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, id, s.metadata))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", id, errAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	entry := new(T)
	if err := json.Unmarshal(text, entry); err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", id, err)
	}
	return entry, nil
}

// list returns every entry in the order of the IDs. One that is deleted
// meanwhile may be missing; any other failure is an error.
func (s *shelf[T]) list() ([]*T, error) {
	names, err := entryNames(s.dir)
	if err != nil {
		return nil, err
	}
	entries := make([]*T, 0, len(names))
	for _, name := range names {
		entry, err := s.get(name)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// find returns the entry the function accepts, or nil.
func (s *shelf[T]) find(accept func(*T) bool) (*T, error) {
	entries, err := s.list()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(entries, accept); i >= 0 {
		return entries[i], nil
	}
	return nil, nil
}

// add makes an entry: fill writes the content into the folder it is given, the
// metadata follows, and a rename makes both visible. Nothing is left when it
// fails. The caller holds the lock.
func (s *shelf[T]) add(id string, entry *T, fill func(folder string) error) (err error) {
	folder := filepath.Join(s.tmp, id)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", id, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(folder))
		}
	}()
	if err := fill(folder); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(folder, s.metadata), entry); err != nil {
		return err
	}
	if err := os.Rename(folder, filepath.Join(s.dir, id)); err != nil {
		return fmt.Errorf("make %s visible: %w", id, err)
	}
	return nil
}

// update replaces the metadata of an entry. The caller holds the lock.
func (s *shelf[T]) update(id string, entry *T) error {
	fresh := filepath.Join(s.tmp, id+".json")
	if err := writeJSON(fresh, entry); err != nil {
		return err
	}
	if err := os.Rename(fresh, filepath.Join(s.dir, id, s.metadata)); err != nil {
		return fmt.Errorf("update %s: %w", id, err)
	}
	return nil
}

// remove makes an entry vanish at once and then frees its space. An ID that is
// not there is no error. The caller holds the lock.
func (s *shelf[T]) remove(id string) error {
	if !s.validID.MatchString(id) {
		return nil
	}
	doomed := filepath.Join(s.tmp, id+".removed")
	err := os.Rename(filepath.Join(s.dir, id), doomed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	return removeTree(doomed)
}

func entryNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the storage: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	return nil
}

// removeTree removes folders too that their owner may not write to.
func removeTree(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if entry == nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o700)
	})
	return errors.Join(err, os.RemoveAll(path))
}
