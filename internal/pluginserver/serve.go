package pluginserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/hashicorp/go-plugin"
	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/generated/backupitemaction/v2"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/generated/restoreitemaction/v2"
	"google.golang.org/grpc"
)

// handshake is what Velero and a plugin must agree on (Velero,
// pkg/plugin/framework/handshake.go).
var handshake = plugin.HandshakeConfig{
	ProtocolVersion:  2,
	MagicCookieKey:   "VELERO_PLUGIN",
	MagicCookieValue: "hello",
}

// The kinds of plugin, as Velero names them.
const (
	kindLister            = "PluginLister"
	kindObjectStore       = "ObjectStore"
	kindVolumeSnapshotter = "VolumeSnapshotter"
	kindBackupItemAction  = "BackupItemActionV2"
	kindRestoreItemAction = "RestoreItemActionV2"
)

// windowSize is the HTTP/2 flow control window, in bytes, of a stream and of
// the connection. gRPC's own 64 KiB makes Velero wait after every fourth of its
// 16 KiB messages.
const windowSize = 1 << 20

// Open makes a plugin from the config of a location. It checks the config and
// what can be checked of the far side; ctx ends with the call and is not kept.
type Open[T any] func(ctx context.Context, config map[string]string) (T, error)

// Plugins is what one binary offers, all kinds under one name.
type Plugins struct {
	// Name is the provider's name in a location: a DNS subdomain, a slash and
	// a word.
	Name              string
	ObjectStore       Open[ObjectStore]
	VolumeSnapshotter Open[VolumeSnapshotter]
	BackupItemAction  ItemAction // nil for none
	RestoreItemAction ItemAction // nil for none
	// Ended, if set, is called when Velero has ended the plugin. What it logs within two
	// seconds Velero still shows, in the log of its server: that of a backup or a
	// restore is stored by then.
	Ended func()
}

// StartedByVelero tells whether the environment holds the cookie with which
// Velero starts a plugin. Without it Serve would only print a warning.
func StartedByVelero() bool {
	return os.Getenv(handshake.MagicCookieKey) == handshake.MagicCookieValue
}

// Serve serves the plugins until Velero ends the process. It does what
// plugin.Serve does for Velero, whose plugins speak gRPC on a Unix socket without
// TLS, and no more: with net/rpc, which plugin.Serve offers too, the linker keeps
// every method of every type, a quarter of the program and of its memory.
func Serve(plugins Plugins, log *logrus.Logger) {
	if err := serve(plugins, log); err != nil {
		log.WithError(err).Error("The plugin cannot be served")
		os.Exit(1)
	}
}

func serve(plugins Plugins, log logrus.FieldLogger) error {
	listener, err := listen()
	if err != nil {
		return err
	}
	defer listener.Close() // and removes the socket
	underWay := &calls{}
	never, _ := io.Pipe() // a log line is read from standard error itself
	server := &plugin.GRPCServer{
		Plugins: plugins.services(log), Server: underWay.newGRPCServer,
		DoneCh: make(chan struct{}), Stdout: never, Stderr: never,
	}
	if err := server.Init(); err != nil {
		return err
	}
	signal.Ignore(os.Interrupt) // it is meant for Velero, which ends its plugins
	exitAfterVelero(underWay, log)
	line := fmt.Sprintf("%d|%d|%s|%s|%s|\n", plugin.CoreProtocolVersion, handshake.ProtocolVersion,
		listener.Addr().Network(), listener.Addr(), plugin.ProtocolGRPC)
	if _, err := io.WriteString(os.Stdout, line); err != nil {
		return err
	}
	server.Serve(listener)
	if plugins.Ended != nil {
		plugins.Ended()
	}
	return nil
}

// listen opens a socket of a new name in the folder that go-plugin's client
// names, or in that for temporary files.
func listen() (net.Listener, error) {
	folder := cmp.Or(os.Getenv(plugin.EnvUnixSocketDir), os.TempDir())
	return net.Listen("unix", filepath.Join(folder, "plugin"+rand.Text())) //nolint:noctx // nothing can be waited for
}

func (p Plugins) services(log logrus.FieldLogger) plugin.PluginSet {
	objectStores := newInstance(p.Name, p.ObjectStore)
	snapshotters := newInstance(p.Name, p.VolumeSnapshotter)
	kinds := []string{kindObjectStore, kindVolumeSnapshotter}
	services := plugin.PluginSet{
		kindObjectStore: service{register: func(s *grpc.Server) {
			generated.RegisterObjectStoreServer(s, &objectStoreServer{stores: objectStores, downloads: newDownloads(log), log: log})
		}},
		kindVolumeSnapshotter: service{register: func(s *grpc.Server) {
			generated.RegisterVolumeSnapshotterServer(s, &snapshotterServer{snapshotters: snapshotters})
		}},
	}
	if p.BackupItemAction != nil {
		kinds = append(kinds, kindBackupItemAction)
		services[kindBackupItemAction] = service{register: func(s *grpc.Server) {
			biav2.RegisterBackupItemActionServer(s, &backupItemActionServer{actions: newReady(p.Name, p.BackupItemAction)})
		}}
	}
	if p.RestoreItemAction != nil {
		kinds = append(kinds, kindRestoreItemAction)
		services[kindRestoreItemAction] = service{register: func(s *grpc.Server) {
			riav2.RegisterRestoreItemActionServer(s, &restoreItemActionServer{actions: newReady(p.Name, p.RestoreItemAction)})
		}}
	}
	services[kindLister] = service{register: func(s *grpc.Server) {
		generated.RegisterPluginListerServer(s, &lister{name: p.Name, command: os.Args[0], kinds: kinds})
	}}
	return services
}

func (c *calls) newGRPCServer(options []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(options,
		grpc.ForceServerCodecV2(newContentCodec()),
		grpc.InitialWindowSize(windowSize),
		grpc.InitialConnWindowSize(windowSize),
		grpc.UnaryInterceptor(c.unary),
		grpc.StreamInterceptor(c.stream),
	)...)
}

// service is a gRPC service in the shape go-plugin asks for.
type service struct {
	plugin.NetRPCUnsupportedPlugin
	register func(*grpc.Server)
}

// GRPCServer implements plugin.GRPCPlugin.
func (s service) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	s.register(server)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (service) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this binary only serves")
}

// lister tells Velero what the binary holds.
type lister struct {
	generated.UnimplementedPluginListerServer
	name, command string
	kinds         []string
}

// ListPlugins implements generated.PluginListerServer.
func (l *lister) ListPlugins(context.Context, *generated.Empty) (*generated.ListPluginsResponse, error) {
	response := &generated.ListPluginsResponse{}
	for _, kind := range l.kinds {
		response.Plugins = append(response.Plugins, &generated.PluginIdentifier{Command: l.command, Kind: kind, Name: l.name})
	}
	return response, nil
}
