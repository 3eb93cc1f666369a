package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
)

// The names of those who compete.
const (
	ours       = "Longshore"
	peerPlugin = "velero-plugin-for-aws"
	ceiling    = "a plugin that stores nothing"
	// plainly is ours beside what it does with encryption.
	plainly     = "Longshore without encryption"
	builtinPath = "Velero's built-in CSI snapshots"
	// builtinPolling is that with an environment variable that users can set.
	builtinPolling = "Velero's built-in CSI snapshots with CSI_SNAPSHOT_EARLY_FREQUENT_POLLING=true"
)

// program is a plugin's binary, alone in its folder.
type program struct {
	name, provider, path string
}

// session is a plugin process under way, driven by Velero's own client.
type session struct {
	program program
	manager clientmgmt.Manager
	store   velero.ObjectStore
	config  map[string]string
	pid     int
}

// open does what Velero does from its start to the first use of a location.
func (p program) open(config map[string]string) (*session, error) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	registry := process.NewRegistry(filepath.Dir(p.path), log, logrus.InfoLevel)
	if err := registry.DiscoverPlugins(); err != nil {
		return nil, fmt.Errorf("discover %s: %w", p.name, err)
	}
	s := &session{program: p, config: config, manager: clientmgmt.NewManager(log, logrus.InfoLevel, registry)}
	if err := s.init(); err != nil {
		s.close()
		return nil, fmt.Errorf("open %s: %w", p.name, err)
	}
	return s, nil
}

func (s *session) init() (err error) {
	if s.store, err = s.manager.GetObjectStore(s.program.provider); err != nil {
		return err
	}
	if err := s.store.Init(s.config); err != nil {
		return err
	}
	s.pid, err = childOf(os.Getpid(), s.program.path)
	return err
}

func (s *session) close() { s.manager.CleanupClients() }

// openAll opens a session for each program; the caller closes them.
func openAll(config map[string]string, programs ...program) (sessions, error) {
	var all sessions
	for _, p := range programs {
		s, err := p.open(config)
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

type sessions []*session

func (all sessions) close() {
	for _, s := range all {
		s.close()
	}
}

// build builds a program of this module with the flags of the plugin's own build.
func build(ctx context.Context, target, ldflags, source string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "grpcnotrace", "-ldflags", ldflags, "-o", target, source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return nil
}

// copyProgram copies a program piece by piece, as a container does that installs
// a plugin. Written in one piece its pages would be large ones in the kernel's
// cache, and a process would seem to use twice the memory.
func copyProgram(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
