package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// SeaweedFS is the program behind SeaweedFSServer.
var SeaweedFS = Part{
	Name: "weed", Module: "hack/tools/seaweedfs",
	Package: "github.com/seaweedfs/seaweedfs/weed", versionOf: "github.com/seaweedfs/seaweedfs",
}

// SeaweedFSServer is `weed server -s3`: master, volume server, filer and S3
// gateway in one process, Apache-2.0.
var SeaweedFSServer = S3Server{
	Name: "seaweedfs", Part: SeaweedFS, Prepare: prepareSeaweedFS, Command: seaweedFSCommand,
	Ports: len(seaweedFSPorts), Outside: seaweedFSSockets,
}

// seaweedFSPorts are the flags of the ports of its parts.
var seaweedFSPorts = []string{
	"master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc",
}

func seaweedFSUsers(r S3Run) string { return filepath.Join(filepath.Dir(r.DataDir), "s3.json") }

// prepareSeaweedFS writes the file of the gateway's users.
func prepareSeaweedFS(_ context.Context, _ *Bed, r S3Run) error {
	type credential struct {
		AccessKey string `json:"accessKey"`
		SecretKey string `json:"secretKey"`
	}
	type identity struct {
		Name        string       `json:"name"`
		Credentials []credential `json:"credentials"`
		Actions     []string     `json:"actions"`
	}
	text, err := json.Marshal(map[string][]identity{"identities": {{
		Name: "velero", Credentials: []credential{{r.AccessKey, r.SecretKey}}, Actions: []string{"Admin"},
	}}})
	if err != nil {
		return err
	}
	return os.WriteFile(seaweedFSUsers(r), text, 0o600)
}

// seaweedFSCommand keeps everything on this machine: telemetry is on by default.
// Each bucket has volumes of its own, here small ones and one at a time.
func seaweedFSCommand(r S3Run) (args, env []string) {
	_, port, _ := strings.Cut(r.Address, ":")
	base := filepath.Dir(r.DataDir)
	args = []string{
		"-logtostderr=true", "server", "-s3", "-dir=" + r.DataDir, "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
		"-s3.port=" + port, "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=" + seaweedFSUsers(r),
		"-filer.localSocket=" + filepath.Join(base, "filer.sock"), "-s3.localSocket=" + filepath.Join(base, "s3.sock"),
		"-s3.allowBackslashInKey", "-volume.max=0", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0",
	}
	for i, flag := range seaweedFSPorts {
		args = append(args, fmt.Sprintf("-%s=%d", flag, r.Ports[i]))
	}
	if r.CertDir != "" {
		args = append(args, "-s3.cert.file="+filepath.Join(r.CertDir, "public.crt"), "-s3.key.file="+filepath.Join(r.CertDir, "private.key"))
	}
	return args, []string{"WEED_MASTER_VOLUME_GROWTH_COPY_1=1"}
}

// seaweedFSSockets are the sockets by which its parts speak to each other. They
// have the ports in their names, and stay behind when it is killed.
func seaweedFSSockets(r S3Run) []string {
	var paths []string
	for i, flag := range seaweedFSPorts {
		if part, grpc := strings.CutSuffix(flag, ".port.grpc"); grpc {
			paths = append(paths, fmt.Sprintf("/tmp/seaweedfs-%s-grpc-%d.sock", part, r.Ports[i]))
		}
	}
	return paths
}
