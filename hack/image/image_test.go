// Package image has the tests of the container image: built as `make image`
// does, and run as Velero's init container is.
package image

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	version = "v0.0.0-test"
	plugin  = "velero-plugin-longshore"
)

// built makes the image in a folder with the real `make image`, and returns the
// path of its archive.
func built(t *testing.T, script string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "dist")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script+`; exec make -C ../.. image "$@"`, "sh",
		"DIST="+folder, "VERSION="+version, "REVISION=0123456789", "SOURCE_DATE_EPOCH=1700000000")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}, name)
	})
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return filepath.Join(folder, plugin+"_"+version+"_image.tar")
}

// rooted is an image, unpacked.
type rooted struct {
	config
	root string
}

func (r rooted) user(t *testing.T) int {
	t.Helper()
	user, _, _ := strings.Cut(r.Config.User, ":")
	id, err := strconv.Atoi(user)
	require.NoError(t, err)
	return id
}

func TestImage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the plugin for all architectures")
	}
	archive := readArchive(t, built(t, "umask 022"))
	image, manifests := archive.index()
	images := map[string]rooted{}
	for arch, manifest := range manifests {
		root := t.TempDir()
		images[arch] = rooted{archive.unpack(manifest, root), root}
	}
	require.Len(t, images, 2)
	here, found := images[runtime.GOARCH]
	require.True(t, found)

	t.Run("contents for amd64", func(t *testing.T) { requireContents(t, images["amd64"], "amd64", elf.EM_X86_64) })
	t.Run("contents for arm64", func(t *testing.T) { requireContents(t, images["arm64"], "arm64", elf.EM_AARCH64) })
	t.Run("built again it is the same", func(t *testing.T) {
		again, _ := readArchive(t, built(t, "umask 077; export TZ=Asia/Tokyo LC_ALL=C GOFLAGS=-mod=mod GOAMD64=v3")).index()
		require.Equal(t, image.Digest, again.Digest)
		require.Equal(t, "longshore/velero-plugin:"+version, again.Annotations["org.opencontainers.image.ref.name"])
	})
	t.Run("full volume", func(t *testing.T) {
		ended := initContainer(t, here, container{Target: "/target", Size: 4 << 20}).run(t)
		require.Equal(t, 1, ended.Code, ended.Output)
		require.Regexp(t, "^velero-plugin-longshore: install into /target: no space left on device; it must have room for [0-9]+ MiB\n$", ended.Output)
		require.Empty(t, ended.Left)
	})
	t.Run("read-only volume", func(t *testing.T) {
		ended := initContainer(t, here, container{Target: "/target", Size: 64 << 20, ReadOnly: true}).run(t)
		require.Equal(t, 1, ended.Code, ended.Output)
		require.Equal(t, "velero-plugin-longshore: install into /target: read-only file system; mount the volume without readOnly\n", ended.Output)
		require.Empty(t, ended.Left)
	})
	t.Run("Velero", func(t *testing.T) { runByVelero(t, here) })
	t.Run("a check by itself", func(t *testing.T) { checkByItself(t, here) })
}

// initContainer completes a container of the image with what the image says, as
// for a container without a command.
func initContainer(t *testing.T, image rooted, c container) container {
	t.Helper()
	c.Root, c.User, c.Args = image.root, image.user(t), slices.Concat(image.Config.Entrypoint, image.Config.Cmd)
	return c
}

func requireContents(t *testing.T, image rooted, arch string, machine elf.Machine) {
	require.Equal(t, arch, image.Architecture)
	require.Equal(t, 65532, image.user(t))
	require.Equal(t, "2023-11-14T22:13:20Z", image.Created)
	const label = "org.opencontainers.image."
	require.Equal(t, version, image.Config.Labels[label+"version"])
	require.Equal(t, "0123456789", image.Config.Labels[label+"revision"])
	require.Equal(t, "Apache-2.0", image.Config.Labels[label+"licenses"])

	program, err := elf.Open(filepath.Join(image.root, image.Config.Entrypoint[0]))
	require.NoError(t, err)
	defer program.Close()
	require.Equal(t, machine, program.Machine)
	libraries, err := program.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, libraries, "the image has no libraries")

	notices := read(t, image, "licenses/THIRD_PARTY_NOTICES")
	require.Contains(t, notices, "sources: https://github.com/hashicorp/go-plugin\n")
	require.Contains(t, notices, "Mozilla Public License, version 2.0")
	require.Contains(t, read(t, image, "licenses/LICENSE"), "Apache License")
	require.GreaterOrEqual(t, certificates(t, read(t, image, "etc/ssl/certs/ca-certificates.crt")), 100)
	require.Equal(t, []string{"MPL-2.0"}, materials(t, image)["github.com/hashicorp/go-plugin"])
}

func read(t *testing.T, image rooted, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(image.root, path))
	require.NoError(t, err)
	return string(content)
}

func certificates(t *testing.T, text string) int {
	t.Helper()
	n, rest := 0, []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			require.Empty(t, bytes.TrimSpace(rest))
			return n
		}
		n++
	}
}

// materials are the licences of the modules in the image's bill of materials.
func materials(t *testing.T, image rooted) map[string][]string {
	t.Helper()
	var bill struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct {
			Name     string
			Licenses []struct{ License struct{ ID string } }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, image, "sbom/"+plugin+".cdx.json")), &bill))
	require.Equal(t, "CycloneDX", bill.BOMFormat)
	require.Equal(t, version, bill.Metadata.Component.Version)
	all := map[string][]string{}
	for _, component := range bill.Components {
		for _, l := range component.Licenses {
			all[component.Name] = append(all[component.Name], l.License.ID)
		}
		require.NotEmpty(t, all[component.Name], component.Name)
	}
	return all
}

// runByVelero lets Velero install itself, starts the init container that it
// made, and then Velero with what that installed.
func runByVelero(t *testing.T, image rooted) {
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	volume := t.TempDir()
	velero, err := bed.InstallVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: "backups", Plugins: []string{filepath.Join(volume, plugin)},
	})
	require.NoError(t, err)

	init := veleroInitContainer(t, velero)
	ended := initContainer(t, image, container{Target: init.VolumeMounts[0].MountPath, Volume: volume}).run(t)
	require.Zero(t, ended.Code, ended.Output)
	require.Equal(t, "installed "+init.VolumeMounts[0].MountPath+"/"+plugin+"\n", ended.Output)
	require.Equal(t, []string{plugin}, ended.Left)

	require.NoError(t, velero.Serve(t.Context()))
	require.NoError(t, velero.WaitLocation(t.Context(), testbed.DefaultLocation))
	listed, err := velero.CLI(t.Context(), "plugin", "get")
	require.NoError(t, err)
	for _, kind := range []string{"ObjectStore", "VolumeSnapshotter"} {
		require.Regexp(t, testbed.Provider+`\s+`+kind, listed)
	}
}

// veleroInitContainer is what the real Velero made of the plugin's image: it
// leaves the command and the user to the image.
func veleroInitContainer(t *testing.T, velero *testbed.VeleroServer) corev1.Container {
	t.Helper()
	deployment, err := velero.Cluster.Kube.AppsV1().Deployments(velero.Namespace).Get(t.Context(), "velero", metav1.GetOptions{})
	require.NoError(t, err)
	pod := deployment.Spec.Template.Spec
	require.Nil(t, pod.SecurityContext.RunAsUser)
	require.Len(t, pod.InitContainers, 1)
	init := pod.InitContainers[0]
	require.Contains(t, init.Image, "longshore/velero-plugin:")
	require.Empty(t, init.Command)
	require.Empty(t, init.Args)
	require.Nil(t, init.SecurityContext)
	require.Len(t, init.VolumeMounts, 1)
	return init
}

// checkByItself runs a check in the image, as a Job would.
func checkByItself(t *testing.T, image rooted) {
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Buckets: []string{"backups"}})
	require.NoError(t, err)
	volume := t.TempDir()
	credentials, err := os.ReadFile(s3.CredentialsFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(volume, "cloud"), credentials, 0o600))
	c := initContainer(t, image, container{Target: "/credentials", Volume: volume})
	c.Args = []string{image.Config.Entrypoint[0], "check", "objectstore", "--bucket", "backups",
		"--config", "s3Url=" + s3.Endpoint, "--credentials-file", "/credentials/cloud"}
	ended := c.run(t)
	require.Zero(t, ended.Code, ended.Output)
	require.Contains(t, ended.Output, "It works.")
}
