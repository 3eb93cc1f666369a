package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is one whose code is in the binary.
type module struct {
	path, version string
	// folder is where the module's sources are, folders those of its packages
	// that are linked.
	folder  string
	folders map[string]bool
}

// goListed is what `go list` says of a package.
type goListed struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path, Version string }
	}
}

// modules returns all modules that are linked, sorted by path, without our own
// and with Go's own library first.
func (b *builder) modules(ctx context.Context, p platform) ([]module, error) {
	listed, err := b.goTool(ctx, p, "list", "-deps", "-tags", b.tags, "-json=Dir,Standard,Module", ".")
	if err != nil {
		return nil, err
	}
	found, err := collect(listed)
	if err != nil {
		return nil, err
	}
	library, err := b.standardLibrary(ctx, p)
	if err != nil {
		return nil, err
	}
	sorted := []module{library}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		sorted = append(sorted, *found[path])
	}
	return sorted, nil
}

func collect(listed []byte) (map[string]*module, error) {
	found := map[string]*module{}
	for packages := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p goListed
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		if p.Module.Replace != nil {
			return nil, errors.New(p.Module.Path + " is replaced; a published binary is built from published modules")
		}
		m, known := found[p.Module.Path]
		if !known {
			m = &module{path: p.Module.Path, version: p.Module.Version, folder: p.Module.Dir, folders: map[string]bool{}}
			found[m.path] = m
		}
		m.folders[p.Dir] = true
	}
}

func (b *builder) standardLibrary(ctx context.Context, p platform) (module, error) {
	out, err := b.goTool(ctx, p, "env", "GOROOT", "GOVERSION")
	if err != nil {
		return module{}, err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return module{path: "std", version: version, folder: root, folders: map[string]bool{root: true}}, nil
}

var (
	legalName   = regexp.MustCompile(`(?i)^(licen[sc]e|copying|notice|patents)([.-].*)?$`)
	licenceName = regexp.MustCompile(`(?i)^(licen[sc]e|copying)([.-].*)?$`)
)

// legalFiles are the paths, within the module, of the texts that speak of the
// linked packages: those in their folders and in the folders above.
func (m module) legalFiles() ([]string, error) {
	seen, files := map[string]bool{}, []string{}
	for folder := range m.folders {
		for ; !seen[folder]; folder = filepath.Dir(folder) {
			seen[folder] = true
			there, err := legalFilesIn(folder)
			if err != nil {
				return nil, err
			}
			files = append(files, there...)
			if folder == m.folder {
				break
			}
		}
	}
	for i, file := range files {
		relative, err := filepath.Rel(m.folder, file)
		if err != nil {
			return nil, err
		}
		files[i] = filepath.ToSlash(relative)
	}
	slices.Sort(files)
	return files, nil
}

func legalFilesIn(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && legalName.MatchString(entry.Name()) && !strings.HasSuffix(entry.Name(), ".go") {
			files = append(files, filepath.Join(folder, entry.Name()))
		}
	}
	return files, nil
}
