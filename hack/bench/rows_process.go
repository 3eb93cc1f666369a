package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"google.golang.org/grpc"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// settleTime is how long a process is left alone before its idle memory is read.
const settleTime = time.Second

func measureSize(_ context.Context, b *bench) ([]row, error) {
	size := row{Name: "binary", Unit: "MB", Target: 2.5, Rival: peerPlugin, Samples: map[string][]float64{}}
	for _, p := range b.everyProgram() {
		info, err := os.Stat(p.path)
		if err != nil {
			return nil, err
		}
		size.Samples[p.name] = []float64{float64(info.Size()) / 1e6}
	}
	return []row{size}, nil
}

func (b *bench) everyProgram() []program { return []program{b.ours, b.peer, b.ceiling} }

// measureStart takes the time from the start of a plugin's process to its answer
// to Velero's first question, what plugins there are.
func measureStart(ctx context.Context, b *bench) ([]row, error) {
	var all sessions
	for _, p := range b.everyProgram() {
		all = append(all, &session{program: p})
	}
	rows := []row{{Name: "start to the first answer", Unit: "ms", Target: 2}}
	return inTurn(ctx, b.pick(11, 31), all, rows, func(s *session, _ int) ([]float64, error) {
		took, err := firstAnswer(ctx, s.program.path)
		return []float64{float64(took.Microseconds()) / 1000}, err
	})
}

func firstAnswer(ctx context.Context, path string) (time.Duration, error) {
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  framework.Handshake(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Plugins:          plugin.PluginSet{"PluginLister": lister{}},
		Cmd:              exec.CommandContext(ctx, path),
		Logger:           hclog.NewNullLogger(),
		SyncStderr:       io.Discard,
	})
	defer client.Kill()
	began := time.Now()
	connection, err := client.Client()
	if err != nil {
		return 0, err
	}
	raw, err := connection.Dispense("PluginLister")
	if err != nil {
		return 0, err
	}
	_, err = raw.(generated.PluginListerClient).ListPlugins(ctx, &generated.Empty{})
	return time.Since(began), err
}

// lister is the raw client of Velero's first question.
type lister struct{ plugin.NetRPCUnsupportedPlugin }

func (lister) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this program is a client")
}

func (lister) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, connection *grpc.ClientConn) (any, error) {
	return generated.NewPluginListerClient(connection), nil
}

// measureMemory reads the resident memory of a fresh process at each stage of
// its life.
func measureMemory(ctx context.Context, b *bench) ([]row, error) {
	s3, err := b.server(ctx, testbed.VersityGateway, false)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, s3, "few", 100); err != nil {
		return nil, err
	}
	var all sessions
	for _, p := range b.everyProgram() {
		all = append(all, &session{program: p})
	}
	rows := []row{
		{Name: "memory, idle", Unit: "MB", Target: 2},
		{Name: "memory, after a listing", Unit: "MB", Target: 2},
		{Name: "memory, peak of a 1 GiB upload", Unit: "MB", Target: 2},
		{Name: "memory, peak of a 1 GiB download", Unit: "MB"},
	}
	return inTurn(ctx, b.pick(2, 5), all, rows, func(s *session, _ int) ([]float64, error) {
		return memoryStages(ctx, s.program, location(s3))
	})
}

func memoryStages(ctx context.Context, p program, config map[string]string) ([]float64, error) {
	s, err := p.open(config)
	if err != nil {
		return nil, err
	}
	defer s.close()
	stages := []struct {
		key  string
		work func() error
	}{
		{resident, func() error { return pause(ctx, settleTime) }},
		{resident, func() error { return s.list("few/") }},
		{peakResident, func() error { return s.put("large", gibibyte) }},
		{peakResident, func() error { return s.get("large", gibibyte) }},
	}
	var figures []float64
	for i, stage := range stages {
		if err := forgetPeak(s.pid); err != nil {
			return nil, err
		}
		if err := stage.work(); err != nil {
			return nil, fmt.Errorf("stage %d: %w", i+1, err)
		}
		figure, err := memory(s.pid, stage.key)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure)
	}
	return figures, s.store.DeleteObject(bucket, "large")
}

func (s *session) list(prefix string) error {
	_, err := s.store.ListCommonPrefixes(bucket, prefix, "/")
	return err
}

// pause lets a process be idle for a while.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
