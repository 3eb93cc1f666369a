package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	asDriver    = "CSIDRIVER_TEST_SERVE" // this test binary is to be the driver
	testTimeout = 30 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(asDriver) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a driver served by a process of its own.
type process struct {
	csi.IdentityClient
	csi.ControllerClient
	csi.NodeClient
	csi.GroupControllerClient

	t      testing.TB
	cmd    *exec.Cmd
	stderr *output
	socket string
	data   string
	conn   *grpc.ClientConn
	exited chan error
}

// output collects what a process writes; it may be read meanwhile.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// startDriver returns when the driver answers. It is stopped by SIGTERM at the
// end of the test, which fails unless the driver then exits with status 0.
func startDriver(t testing.TB, data string, args ...string) *process {
	t.Helper()
	p := launch(t, data, filepath.Join(shortDir(t), "csi.sock"), args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("driver's log:\n%s", p.stderr)
		}
	})
	t.Cleanup(p.stop)
	p.connect()
	return p
}

func launch(t testing.TB, data, socket string, args ...string) *process {
	t.Helper()
	p := &process{t: t, data: data, socket: socket, stderr: &output{}, exited: make(chan error, 1)}
	args = append([]string{"--endpoint", "unix://" + socket, "--data", data, "--node-id", "node-a"}, args...)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asDriver+"=1")
	cmd.Stderr = p.stderr
	require.NoError(t, cmd.Start())
	p.cmd = cmd
	go func() { p.exited <- cmd.Wait() }()
	return p
}

func (p *process) connect() {
	p.t.Helper()
	quick := backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1, MaxDelay: 5 * time.Millisecond}
	conn, err := grpc.NewClient("unix://"+p.socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: testTimeout}))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { conn.Close() })
	p.conn = conn
	p.IdentityClient = csi.NewIdentityClient(conn)
	p.ControllerClient = csi.NewControllerClient(conn)
	p.NodeClient = csi.NewNodeClient(conn)
	p.GroupControllerClient = csi.NewGroupControllerClient(conn)
	_, err = p.Probe(deadline(p.t), &csi.ProbeRequest{}, grpc.WaitForReady(true))
	require.NoError(p.t, err, "driver's log:\n%s", p.stderr)
}

// stop may be called after kill, or twice, and then does nothing.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(p.t, p.wait(), "driver's log:\n%s", p.stderr)
}

func (p *process) kill() {
	require.NoError(p.t, p.cmd.Process.Kill())
	require.Error(p.t, p.wait())
}

func (p *process) wait() error {
	p.cmd = nil
	select {
	case err := <-p.exited:
		return err
	case <-time.After(testTimeout):
		p.t.Fatal("the driver did not exit")
		return nil
	}
}

// deadline bounds every call a test makes. It outlives t.Context, which ends
// before the test's cleanups run.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// shortDir is for sockets, whose paths may have no more than 100 characters.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "csi")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// setControl replaces the control file as a whole.
func (p *process) setControl(text string) {
	p.t.Helper()
	fresh := filepath.Join(p.data, "control.fresh")
	require.NoError(p.t, os.WriteFile(fresh, []byte(text), 0o644))
	require.NoError(p.t, os.Rename(fresh, filepath.Join(p.data, "control.json")))
}

// volumeDir is where the files of a volume lie.
func (p *process) volumeDir(id string) string {
	return filepath.Join(p.data, "volumes", id, "data")
}

func (p *process) books() *books {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], "books", "--data", p.data)
	cmd.Env = append(os.Environ(), asDriver+"=1")
	cmd.Stderr = p.stderr
	text, err := cmd.Output()
	require.NoError(p.t, err, "log:\n%s", p.stderr)
	var found books
	require.NoError(p.t, json.Unmarshal(text, &found))
	return &found
}

func (p *process) createVolume(name string, change ...func(*csi.CreateVolumeRequest)) (*csi.Volume, error) {
	req := volumeNamed(name)
	for _, c := range change {
		c(req)
	}
	response, err := p.CreateVolume(deadline(p.t), req)
	return response.GetVolume(), err
}

func (p *process) mustCreateVolume(name string, change ...func(*csi.CreateVolumeRequest)) *csi.Volume {
	p.t.Helper()
	vol, err := p.createVolume(name, change...)
	require.NoError(p.t, err)
	return vol
}

func (p *process) createSnapshot(name, volumeID string) (*csi.Snapshot, error) {
	response, err := p.CreateSnapshot(deadline(p.t), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: volumeID})
	return response.GetSnapshot(), err
}

func (p *process) mustCreateSnapshot(name, volumeID string) *csi.Snapshot {
	p.t.Helper()
	snap, err := p.createSnapshot(name, volumeID)
	require.NoError(p.t, err)
	return snap
}

func volumeNamed(name string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name:               name,
		CapacityRange:      &csi.CapacityRange{RequiredBytes: 1 << 20},
		VolumeCapabilities: []*csi.VolumeCapability{mountCapability()},
	}
}

func mountCapability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

func asBlock(req *csi.CreateVolumeRequest) {
	req.VolumeCapabilities[0].AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
}

func withSize(required, limit int64) func(*csi.CreateVolumeRequest) {
	return func(req *csi.CreateVolumeRequest) {
		req.CapacityRange = &csi.CapacityRange{RequiredBytes: required, LimitBytes: limit}
	}
}

func fromSnapshot(id string) func(*csi.CreateVolumeRequest) {
	return func(req *csi.CreateVolumeRequest) { req.VolumeContentSource = source{SnapshotID: id}.toCSI() }
}

func fromVolume(id string) func(*csi.CreateVolumeRequest) {
	return func(req *csi.CreateVolumeRequest) { req.VolumeContentSource = source{VolumeID: id}.toCSI() }
}

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"nothing":         {nil, "--endpoint is required\n--data is required\n--node-id is required"},
		"argument":        {[]string{"serve"}, `unexpected argument "serve"`},
		"flag":            {[]string{"--enpoint", "x"}, "-enpoint"},
		"zones alone":     {[]string{"--endpoint", "s", "--data", "d", "--node-id", "n", "--zones", "a"}, "--zones needs --topology"},
		"zonal alone":     {[]string{"--endpoint", "s", "--data", "d", "--node-id", "n", "--zonal-snapshots"}, "--zonal-snapshots needs --topology"},
		"empty zone":      {[]string{"--endpoint", "s", "--data", "d", "--node-id", "n", "--topology", "z=a", "--zones", "a,"}, "empty zone"},
		"topology":        {[]string{"--topology", "zone"}, `want key=value, not "zone"`},
		"topology twice":  {[]string{"--topology", "z=a", "--topology", "z=b"}, `key "z" is given twice`},
		"secret op":       {[]string{"--require-secret", "mount:a=b"}, "create, delete, deletesnapshot, list, snapshot"},
		"secret value":    {[]string{"--require-secret", "create:a"}, "want op:key=value"},
		"books of what":   {[]string{"books"}, "--data is required"},
		"books and words": {[]string{"books", "--data", "d", "now"}, `unexpected argument "now"`},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			require.Equal(t, 2, run(test.args, io.Discard, &stderr))
			require.Contains(t, stderr.String(), test.want)
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for arg, want := range map[string]string{"--help": "-require-secret", "--version": version} {
		var stdout, stderr bytes.Buffer
		require.Zero(t, run([]string{arg}, &stdout, &stderr))
		require.Contains(t, stdout.String(), want)
		require.Empty(t, stderr.String())
	}
}
