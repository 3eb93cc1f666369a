package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// profiles are the pieces of work of which profiles are taken, each in a process
// of its own.
var profiles = []struct {
	name string
	work func(s *session) error
}{
	{"init", func(s *session) error { return s.reopen(100) }},
	{"put", func(s *session) error { return s.put("large", gibibyte) }},
	{"get", func(s *session) error { return s.get("large", gibibyte) }},
	{"small", func(s *session) error {
		return atOnce(8, 4000, func(key string) error { return s.put(key, smallSize) })
	}},
	{"list", func(s *session) error {
		for range 20 {
			if err := s.list("many/"); err != nil {
				return err
			}
		}
		return nil
	}},
}

// reopen sets the plugin up again and again, each time with another config.
func (s *session) reopen(times int) error {
	for i := range times {
		config := maps.Clone(s.config)
		config["prefix"] = fmt.Sprint("prefix-", i)
		store, err := s.manager.GetObjectStore(s.program.provider)
		if err != nil {
			return err
		}
		if err := store.Init(config); err != nil {
			return err
		}
	}
	return nil
}

// takeProfiles writes NAME.cpu and NAME.heap for each of profiles into dir, for
// go tool pprof.
func takeProfiles(ctx context.Context, b *bench, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(b.bed.Dir(), "programs", "profiled", "plugin")
	if err := build(ctx, path, "", "./profiled"); err != nil {
		return err
	}
	s3, err := b.server(ctx, servers()[0], false)
	if err != nil {
		return err
	}
	if err := fill(ctx, s3, "many", 2000); err != nil {
		return err
	}
	for _, p := range profiles {
		progress("profile of %s", p.name)
		if err := profile(program{name: ours, provider: testbed.Provider, path: path}, location(s3), p.work, filepath.Join(dir, p.name)); err != nil {
			return fmt.Errorf("profile of %s: %w", p.name, err)
		}
	}
	return nil
}

func profile(p program, config map[string]string, work func(*session) error, to string) error {
	raw, err := os.MkdirTemp(filepath.Dir(to), "profiles-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(raw) }() // Empty, unless an error tells of more.
	// The folder is the plugin's, whose environment is this process's.
	if err := os.Setenv("PROFILES", raw); err != nil {
		return err
	}
	s, err := p.open(config)
	if err != nil {
		return err
	}
	err = work(s)
	s.close()
	if err != nil {
		return err
	}
	for _, kind := range []string{".cpu", ".heap"} {
		if err := os.Rename(filepath.Join(raw, fmt.Sprint(s.pid)+kind), to+kind); err != nil {
			return err
		}
	}
	return nil
}
