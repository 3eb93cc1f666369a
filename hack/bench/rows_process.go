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
)

// settleTime is how long a process is left alone before its idle memory is read.
const settleTime = time.Second

func measureSize(_ context.Context, b *bench) ([]row, error) {
	size := row{Name: "binary", Unit: "MB", Rival: peerPlugin, Samples: map[string][]float64{}}
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
	rows := []row{{Name: "start to the first answer", Unit: "ms"}}
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

func (lister) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, connection *grpc.ClientConn) (any, error) { //nolint:unparam // an interface
	return generated.NewPluginListerClient(connection), nil
}

// measureMemory reads the resident memory of a fresh process before and after its first
// work, and what of it is not the program's own file: that, the processes share.
func measureMemory(ctx context.Context, b *bench) ([]row, error) {
	return b.memoryStages(ctx, b.pick(5, 9), []stage{
		{"memory, idle", resident, func(*session) error { return pause(ctx, settleTime) }},
		{"memory beside the program's file, idle", anonymous, func(*session) error { return nil }},
		{"memory, after a listing", resident, func(s *session) error { return s.list("few/") }},
		{"memory beside the program's file, after a listing", anonymous, func(*session) error { return nil }},
	})
}

// measurePeaks reads the most memory that a fresh process has while it moves a
// large object.
func measurePeaks(ctx context.Context, b *bench) ([]row, error) {
	return b.memoryStages(ctx, b.pick(1, 3), peaks)
}

// peaks move a large object.
var peaks = []stage{
	{"memory, peak of a 1 GiB upload", peakResident, func(s *session) error { return s.put("large", gibibyte) }},
	{"memory, peak of a 1 GiB download", peakResident, func(s *session) error { return s.get("large", gibibyte) }},
}

// stage is some work in a process's life and the figure that is read after it.
type stage struct {
	name string
	key  string
	work func(*session) error
}

// memoryStages leads processes of each program through the stages.
func (b *bench) memoryStages(ctx context.Context, rounds int, stages []stage) ([]row, error) {
	s3, err := b.server(ctx, servers()[0], false)
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
	var rows []row
	for _, stage := range stages {
		rows = append(rows, row{Name: stage.name, Unit: "MB"})
	}
	return inTurn(ctx, rounds, all, rows, func(s *session, _ int) ([]float64, error) {
		return s.program.lead(location(s3), stages)
	})
}

// lead goes through the stages in a fresh process.
func (p program) lead(config map[string]string, stages []stage) ([]float64, error) {
	s, err := p.open(config)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var figures []float64
	for _, stage := range stages {
		if err := forgetPeak(s.pid); err != nil {
			return nil, err
		}
		if err := stage.work(s); err != nil {
			return nil, fmt.Errorf("%s: %w", stage.name, err)
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
