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
	"strings"
)

// shelf holds the entries of one kind, each a folder named by its ID.
type shelf[T any] struct {
	dir      string
	tmp      string
	prefix   string
	metadata string
	idOf     func(*T) string
	validID  *regexp.Regexp
}

func newShelf[T any](root, dir, prefix, metadata string, idOf func(*T) string) shelf[T] {
	return shelf[T]{
		dir:      filepath.Join(root, dir),
		tmp:      filepath.Join(root, "tmp"),
		prefix:   prefix,
		metadata: metadata,
		idOf:     idOf,
		validID:  regexp.MustCompile(`^` + prefix + `-[0-9a-f]{16}(/x*)?$`),
	}
}

// newID is the name of the entry's folder. One that is to be longer goes on with
// a slash and x's.
func (s *shelf[T]) newID(length int) string {
	var random [8]byte
	rand.Read(random[:])
	id := s.prefix + "-" + hex.EncodeToString(random[:])
	if more := length - len(id); more > 0 {
		id += "/" + strings.Repeat("x", more-1)
	}
	return id
}

func folderOf(id string) string {
	folder, _, _ := strings.Cut(id, "/")
	return folder
}

// dataPath is where the content of a complete entry lies.
func (s *shelf[T]) dataPath(id, volumeMode string) string {
	return filepath.Join(s.dir, folderOf(id), dataName(volumeMode))
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
	entry, err := s.read(folderOf(id))
	if err == nil && s.idOf(entry) != id {
		return nil, fmt.Errorf("%q: %w", id, errAbsent)
	}
	return entry, err
}

func (s *shelf[T]) read(folder string) (*T, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, folder, s.metadata))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", folder, errAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	entry := new(T)
	if err := json.Unmarshal(text, entry); err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", folder, err)
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
		entry, err := s.read(name)
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
	folder := filepath.Join(s.tmp, folderOf(id))
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
	if err := os.Rename(folder, filepath.Join(s.dir, folderOf(id))); err != nil {
		return fmt.Errorf("make %s visible: %w", id, err)
	}
	return nil
}

// update replaces the metadata of an entry. The caller holds the lock.
func (s *shelf[T]) update(id string, entry *T) error {
	fresh := filepath.Join(s.tmp, folderOf(id)+".json")
	if err := writeJSON(fresh, entry); err != nil {
		return err
	}
	if err := os.Rename(fresh, filepath.Join(s.dir, folderOf(id), s.metadata)); err != nil {
		return fmt.Errorf("update %s: %w", id, err)
	}
	return nil
}

// remove makes an entry vanish at once and then frees its space. An ID that is
// not there is no error. The caller holds the lock.
func (s *shelf[T]) remove(id string) error {
	if _, err := s.get(id); errors.Is(err, errAbsent) {
		return nil
	}
	gone := filepath.Join(s.tmp, folderOf(id)+".removed")
	err := os.Rename(filepath.Join(s.dir, folderOf(id)), gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	return removeTree(gone)
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
