package pluginserver

import (
	"context"
	"errors"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
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
)

// windowSize is the HTTP/2 flow control window, in bytes, of a stream and of
// the connection. gRPC's own 64 KiB makes Velero wait after every fourth of its
// 16 KiB messages.
const windowSize = 1 << 20

// Open makes a plugin from the config of a location. It checks the config and
// what can be checked of the far side; ctx ends with the call and is not kept.
type Open[T any] func(ctx context.Context, config map[string]string) (T, error)

// Plugins is what one binary offers, both kinds under one name.
type Plugins struct {
	// Name is the provider's name in a location: a DNS subdomain, a slash and
	// a word.
	Name              string
	ObjectStore       Open[ObjectStore]
	VolumeSnapshotter Open[VolumeSnapshotter]
}

// StartedByVelero tells whether the environment holds the cookie with which
// Velero starts a plugin. Without it Serve would only print a warning.
func StartedByVelero() bool {
	return os.Getenv(handshake.MagicCookieKey) == handshake.MagicCookieValue
}

// Serve serves the plugins until Velero ends the process.
func Serve(plugins Plugins, log *logrus.Logger) {
	objectStores := newInstance(plugins.Name, plugins.ObjectStore)
	snapshotters := newInstance(plugins.Name, plugins.VolumeSnapshotter)
	underWay := &calls{}
	exitAfterVelero(underWay, log)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		GRPCServer:      underWay.newGRPCServer,
		Logger:          protocolLogger(log.Level),
		Plugins: plugin.PluginSet{
			kindLister: service{register: func(s *grpc.Server) {
				generated.RegisterPluginListerServer(s, &lister{name: plugins.Name, command: os.Args[0]})
			}},
			kindObjectStore: service{register: func(s *grpc.Server) {
				generated.RegisterObjectStoreServer(s, &objectStoreServer{stores: objectStores, downloads: newDownloads(), log: log})
			}},
			kindVolumeSnapshotter: service{register: func(s *grpc.Server) {
				generated.RegisterVolumeSnapshotterServer(s, &snapshotterServer{snapshotters: snapshotters})
			}},
		},
	})
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

// protocolLogger is for go-plugin's own messages, in the form of NewLogger.
func protocolLogger(level logrus.Level) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "go-plugin",
		Level:      hclog.LevelFromString(level.String()),
		Output:     os.Stderr,
		JSONFormat: true,
	})
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
}

// ListPlugins implements generated.PluginListerServer.
func (l *lister) ListPlugins(context.Context, *generated.Empty) (*generated.ListPluginsResponse, error) {
	return &generated.ListPluginsResponse{Plugins: []*generated.PluginIdentifier{
		{Command: l.command, Kind: kindObjectStore, Name: l.name},
		{Command: l.command, Kind: kindVolumeSnapshotter, Name: l.name},
	}}, nil
}
