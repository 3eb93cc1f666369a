// Command figures prints the size of the plugin's binary and the memory of its
// process, idle and after one listing, measured on the real binary against a
// real S3 server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"google.golang.org/grpc"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	bucket   = "figures"
	provider = testbed.Provider
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	err := run(ctx, "bin/velero-plugin-longshore")
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		return err
	}
	defer bed.Close()
	s3, err := bed.StartS3(ctx, testbed.S3Options{Buckets: []string{bucket}})
	if err != nil {
		return err
	}
	fmt.Printf("%-32s %8.1f MB\n", "binary", float64(info.Size())/1e6)
	return measure(ctx, binary, s3)
}

func measure(ctx context.Context, binary string, s3 *testbed.S3) error {
	began := time.Now()
	client := plugin.NewClient(clientConfig(ctx, binary, s3.CredentialsFile))
	defer client.Kill()
	connection, err := client.Client()
	if err != nil {
		return err
	}
	raw, err := connection.Dispense("ObjectStore")
	if err != nil {
		return err
	}
	pid := client.ReattachConfig().Pid
	fmt.Printf("%-32s %8.0f ms\n", "start to the first answer", float64(time.Since(began).Milliseconds()))
	printMemory("memory idle", pid)
	if err := list(ctx, raw.(generated.ObjectStoreClient), s3); err != nil {
		return err
	}
	printMemory("memory after one listing", pid)
	return nil
}

func list(ctx context.Context, store generated.ObjectStoreClient, s3 *testbed.S3) error {
	config := s3.LocationConfig()
	config["bucket"] = bucket
	if _, err := store.Init(ctx, &generated.ObjectStoreInitRequest{Plugin: provider, Config: config}); err != nil {
		return err
	}
	_, err := store.ListCommonPrefixes(ctx, &generated.ListCommonPrefixesRequest{Plugin: provider, Bucket: bucket, Delimiter: "/"})
	return err
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func printMemory(what string, pid int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	found := resident.FindSubmatch(status)
	if err != nil || found == nil {
		fmt.Printf("%-32s unknown: this system has no /proc\n", what)
		return
	}
	kilobytes, _ := strconv.ParseFloat(string(found[1]), 64)
	fmt.Printf("%-32s %8.1f MB\n", what, kilobytes*1024/1e6)
}

func clientConfig(ctx context.Context, binary, credentials string) *plugin.ClientConfig {
	command := exec.CommandContext(ctx, binary)
	command.Env = []string{"AWS_SHARED_CREDENTIALS_FILE=" + credentials}
	return &plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{ProtocolVersion: 2, MagicCookieKey: "VELERO_PLUGIN", MagicCookieValue: "hello"},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Plugins:          plugin.PluginSet{"ObjectStore": objectStore{}},
		Cmd:              command,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
	}
}

// objectStore gives the raw client of Velero's ObjectStore service.
type objectStore struct{ plugin.NetRPCUnsupportedPlugin }

func (objectStore) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this program is a client")
}

func (objectStore) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, connection *grpc.ClientConn) (any, error) { //nolint:unparam // go-plugin's interface
	return generated.NewObjectStoreClient(connection), nil
}
