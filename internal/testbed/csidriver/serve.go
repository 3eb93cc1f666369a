package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
)

// stopGrace is how long calls under way may take once the driver is told to
// stop; after that their contexts are cancelled.
const stopGrace = 2 * time.Second

// driver is the state all three CSI services share. Whatever must outlive the
// process is in the store.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	csi.UnimplementedGroupControllerServer

	cfg     config
	store   *store
	control *controlFile
	copies  copies
	log     *slog.Logger
}

// serve answers CSI calls on the configured socket until ctx ends, and removes
// the socket when it returns.
func serve(ctx context.Context, cfg config, log *slog.Logger) error {
	d, calls, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer calls.file.Close()
	listener, err := listen(ctx, cfg.socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.ChainUnaryInterceptor(calls.intercept, d.intercept))
	csi.RegisterIdentityServer(server, d)
	csi.RegisterControllerServer(server, d)
	csi.RegisterNodeServer(server, d)
	csi.RegisterGroupControllerServer(server, d)
	defer context.AfterFunc(ctx, func() { stop(server, log) })()
	log.Info("serving", "socket", cfg.socket, "driver", cfg.name, "node", cfg.nodeID, "data", cfg.data)
	if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", cfg.socket, err)
	}
	log.Info("stopped")
	return nil
}

func open(ctx context.Context, cfg config, log *slog.Logger) (*driver, *callLog, error) {
	store, err := openStore(cfg.data)
	if err != nil {
		return nil, nil, err
	}
	removed, err := store.clean(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range removed {
		log.Warn("removed what a dead process left", "name", name)
	}
	control := newControlFile(cfg.control)
	if _, err := control.read(); err != nil {
		return nil, nil, err
	}
	calls, err := openCallLog(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	return &driver{cfg: cfg, store: store, control: control, log: log}, calls, nil
}

// listen takes over the socket of a dead process but not of a living one.
func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := removeStaleSocket(ctx, path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen (a socket's path may have about 100 characters, this one has %d): %w", len(path), err)
	}
	return listener, nil
}

func removeStaleSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a stale socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		return errors.Join(fmt.Errorf("another process serves %s", path), conn.Close())
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale socket: %w", err)
	}
	return nil
}

func stop(server *grpc.Server, log *slog.Logger) {
	timer := time.AfterFunc(stopGrace, func() {
		log.Warn("cancelling the calls still under way")
		server.Stop()
	})
	defer timer.Stop()
	server.GracefulStop()
}
