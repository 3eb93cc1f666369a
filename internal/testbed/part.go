package testbed

import (
	"context"
	"fmt"
)

// Part is a program that the testbed runs: what to build and from where.
// The programs of others are pinned by modules of their own under hack/tools,
// built once and kept in the user's cache folder. The programs of this
// repository are built whenever they are asked for, which is quick when nothing
// changed.
type Part struct {
	// Name is the program's file name.
	Name string
	// Module is the folder of the module that pins the part, relative to the
	// repository's root.
	Module string
	// Package is the import path of the program.
	Package string

	// versionOf is the module whose version is the part's.
	versionOf string
	// stamp is the linker variable that takes the version, if any.
	stamp string
	// tags are the build tags, if any.
	tags string
	// set are further linker variables, as name=value.
	set []string
	// wrong says why the part cannot be had.
	wrong error
	// local marks a program of this repository.
	local bool
	// debian says which packages make the part, nil for one that is built.
	debian *debianPart
	// make writes the part to a path that does not exist yet.
	make func(ctx context.Context, p Part, target string) error
}

// The parts.
var (
	Etcd = Part{
		Name: "etcd", Module: "hack/tools/etcd",
		Package: "go.etcd.io/etcd/server/v3", versionOf: "go.etcd.io/etcd/server/v3",
	}
	// KubeAPIServer is stamped with its version, because clients cannot parse the
	// one it reports otherwise.
	KubeAPIServer = Part{
		Name: "kube-apiserver", Package: "k8s.io/kubernetes/cmd/kube-apiserver",
		versionOf: "k8s.io/kubernetes", stamp: "k8s.io/component-base/version.gitVersion",
	}.of("kubernetes")
	KubeControllerManager = Part{
		Name: "kube-controller-manager", Package: "k8s.io/kubernetes/cmd/kube-controller-manager",
		versionOf: "k8s.io/kubernetes", stamp: "k8s.io/component-base/version.gitVersion",
	}.of("kubernetes")
	SnapshotController = Part{
		Name:      "snapshot-controller",
		Package:   "github.com/kubernetes-csi/external-snapshotter/MAJOR/cmd/snapshot-controller",
		versionOf: "github.com/kubernetes-csi/external-snapshotter/MAJOR",
	}.of("snapshotter")
	CSISnapshotter = Part{
		Name:      "csi-snapshotter",
		Package:   "github.com/kubernetes-csi/external-snapshotter/MAJOR/cmd/csi-snapshotter",
		versionOf: "github.com/kubernetes-csi/external-snapshotter/MAJOR",
	}.of("snapshotter")
	CSIProvisioner = Part{
		Name:      "csi-provisioner",
		Package:   "github.com/kubernetes-csi/external-provisioner/MAJOR/cmd/csi-provisioner",
		versionOf: "github.com/kubernetes-csi/external-provisioner/MAJOR",
	}.of("provisioner")
	// SnapshotCRDs is no program but the folder of the snapshot API's definitions.
	SnapshotCRDs = Part{
		Name: "snapshot-crds", Package: "github.com/kubernetes-csi/external-snapshotter/client/MAJOR",
		versionOf: "github.com/kubernetes-csi/external-snapshotter/client/MAJOR",
		make:      copyCRDs,
	}.of("snapshotter")
	// Velero is the server and the command-line tool in one program. Beside the
	// metrics that can be told where to listen, the server serves others on port
	// 8080 of every address, which no flag changes; that is switched off, or two
	// could not run side by side.
	Velero = Part{
		Name: "velero", Package: "github.com/vmware-tanzu/velero/cmd/velero", versionOf: "github.com/vmware-tanzu/velero",
		stamp: "github.com/vmware-tanzu/velero/pkg/buildinfo.Version",
		set:   []string{"sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0"},
	}.of("velero")
	VersityGW = Part{
		Name: "versitygw", Module: "hack/tools/versitygw",
		Package: "github.com/versity/versitygw/cmd/versitygw", versionOf: "github.com/versity/versitygw",
	}
	// MinIO is licensed under the AGPL-3: it is only ever run as a program of its
	// own, and nothing of it is linked into ours.
	MinIO = Part{
		Name: "minio", Module: "hack/tools/minio",
		Package: "github.com/minio/minio", versionOf: "github.com/minio/minio",
	}
	// PluginForAWS is the plugin that the benchmarks compare ours with, and that
	// users come from. Few tests need it, so it is none of Parts.
	PluginForAWS = Part{
		Name: "velero-plugin-for-aws", Module: "hack/tools/velero-plugin-for-aws",
		Package:   "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws",
		versionOf: "github.com/vmware-tanzu/velero-plugin-for-aws",
	}
	// Plugin is Longshore's own binary, built as `make build` does.
	Plugin = Part{
		Name: "velero-plugin-longshore", Module: ".", Package: ".",
		stamp: "main.version", tags: "grpcnotrace", local: true,
	}
	// CSIDriver is the driver whose volumes are folders.
	CSIDriver = Part{
		Name: "csidriver", Module: "internal/testbed/csidriver", Package: ".", local: true,
	}
)

// Parts lists every part that the tests and the demo need, those that take
// longest first.
func Parts() []Part {
	return []Part{
		KubeAPIServer, KubeControllerManager, SnapshotController, CSISnapshotter,
		CSIProvisioner, SnapshotCRDs, Velero, SeaweedFS, MinIO, Rclone, VersityGW, Age, Etcd, Ceph, Nginx, HAProxy, Prometheus, Pushgateway, CSIDriver, Plugin,
	}
}

// Version is the version that the part's module pins, that of its Debian
// packages, or "dev" for a program of this repository.
func (p Part) Version() (string, error) {
	switch {
	case p.local:
		return "dev", nil
	case p.debian != nil:
		return p.debian.version, nil
	}
	root, err := repoRoot()
	if err != nil {
		return "", err
	}
	return pinnedVersion(root, p.Module, p.versionOf)
}

// Local says whether the part is a program of this repository.
func (p Part) Local() bool { return p.local }

// Possible returns nil if the part can be had on this machine, else why not: some
// parts are not built but come as packages of one system.
func (p Part) Possible() error {
	if p.wrong != nil {
		return p.wrong
	}
	if err := p.debian.possible(); err != nil {
		return fmt.Errorf("%s cannot be had here: %w", p.Name, err)
	}
	return nil
}

// Path builds the part if it is not in the cache, or is a program of this
// repository, and returns its path. Lines of progress go to standard error.
func (p Part) Path(ctx context.Context) (string, error) {
	return path(ctx, stderr, p)
}
