package ids

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "write the golden files of this version anew")

var zoneA = Topology{{{Key: "topology.kubernetes.io/zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-a"}}}}

var volumeIDs = map[string]VolumeID{
	"plain":       {Driver: "hostpath.csi.k8s.io", Handle: "dadc5c81", PV: "pvc-1", StorageClass: "fast"},
	"no class":    {Driver: "nfs.csi.k8s.io", Handle: "server#share#sub dir", PV: "static"},
	"azure":       {Driver: "disk.csi.azure.com", Handle: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d", PV: "pvc-2", StorageClass: "managed-csi"},
	"odd handle":  {Driver: "d", Handle: "a?b=c&d%e\x00\xffü+:@~ /", PV: "p", StorageClass: "c"},
	"only slash":  {Driver: "d", Handle: "/", PV: "p"},
	"looks alike": {Driver: "d", Handle: "csi://x/y?v=1", PV: "p"},
}

var snapshotIDs = map[string]SnapshotID{
	"plain": {
		Driver: "hostpath.csi.k8s.io", Handle: "dadc5c81", Size: 1 << 30,
		Mode: corev1.PersistentVolumeFilesystem, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Class: "hostpath",
	},
	"all of it": {
		Driver: "rbd.csi.ceph.com", Handle: "0001-0009-rook-ceph-0000000000000002-9d3a", Size: 1500000001,
		Mode:        corev1.PersistentVolumeBlock,
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadWriteMany},
		Class:       "ceph", ManagedBy: "node-1",
		DeleteSecret: SecretRef{Namespace: "rook-ceph", Name: "rook-csi-rbd-provisioner"},
		ListSecret:   SecretRef{Namespace: "rook-ceph", Name: "rook-csi-rbd-lister"},
		Topology: Topology{
			{{Key: "topology.kubernetes.io/zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"a", "b"}}, {Key: "rack", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"7"}}},
			{{Key: "metadata.name", Field: true, Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"}}},
			{{Key: "fast", Operator: corev1.NodeSelectorOpExists}},
			{{Key: "empty", Operator: corev1.NodeSelectorOpIn, Values: []string{"", "x"}}},
		},
	},
	"the rest of it": {
		Driver: "rbd.csi.ceph.com", Handle: "0001-6f1c", Size: 1 << 30, Class: "ceph",
		Mode: corev1.PersistentVolumeFilesystem, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		AttributesClass: "gold", Claim: ClaimRef{Namespace: "shop", Name: "data-0"}, PV: "pvc-1",
		Secrets: allSecrets,
		Group:   Group{Handle: "group/7", Class: "ceph-groups", DeleteSecret: SecretRef{Namespace: "rook-ceph", Name: "group"}, Members: []string{"0001-6f1b", "0001-6f1c", "a&b"}},
	},
	"odd topology": {
		Driver: "d", Handle: "h", Size: 1, Mode: corev1.PersistentVolumeFilesystem,
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod},
		Topology:    Topology{{{Key: "a:b@c", Operator: "Od+d", Values: []string{"x,y", "@", "%25"}}}},
	},
}

var newVolumeIDs = map[string]NewVolumeID{
	"plain": {Driver: "hostpath.csi.k8s.io", Handle: "v1", Staging: "longshore-restore-1"},
	"odd":   {Driver: "d", Handle: "/a b?c&d", Staging: "s"},
}

var allSecrets = Secrets{
	"provisioner":        SecretRef{Namespace: "rook-ceph", Name: "provisioner"},
	"controller-publish": SecretRef{Namespace: "rook-ceph", Name: "publisher"},
	"node-stage":         SecretRef{Namespace: "shop", Name: "data-0-luks"},
	"node-publish":       SecretRef{Namespace: "rook-ceph", Name: "node"},
	"controller-expand":  SecretRef{Namespace: "rook-ceph", Name: "expander"},
	"node-expand":        SecretRef{Namespace: "rook-ceph", Name: "node-expander"},
}

func TestIDsSurviveTheirText(t *testing.T) {
	for name, id := range volumeIDs {
		parsed, err := ParseVolumeID(id.String())
		require.NoError(t, err, name)
		require.Equal(t, id, parsed, name)
	}
	for name, id := range snapshotIDs {
		parsed, err := ParseSnapshotID(id.String())
		require.NoError(t, err, name)
		require.Equal(t, id, parsed, name)
	}
	for name, id := range newVolumeIDs {
		parsed, err := ParseNewVolumeID(id.String())
		require.NoError(t, err, name)
		require.Equal(t, id, parsed, name)
	}
}

func TestSnapshotIDIsReadable(t *testing.T) {
	require.Equal(t, "csi://hostpath.csi.k8s.io/dadc5c81?v=2&size=1Gi&mode=Filesystem&access=ReadWriteOnce&class=hostpath", snapshotIDs["plain"].String())
}

// TestGoldenIDs compares what this version writes with its golden files. Those of
// earlier versions are what stands in users' backups: they are never changed.
func TestGoldenIDs(t *testing.T) {
	golden := map[string][]string{}
	for name, id := range volumeIDs {
		golden["volume.v2"] = append(golden["volume.v2"], name+"\t"+id.String())
	}
	for name, id := range snapshotIDs {
		golden["snapshot.v2"] = append(golden["snapshot.v2"], name+"\t"+id.String())
	}
	for name, id := range newVolumeIDs {
		golden["newvolume.v2"] = append(golden["newvolume.v2"], name+"\t"+id.String())
	}
	for file, lines := range golden {
		slices.Sort(lines)
		path := filepath.Join("testdata", "ids", file)
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, lines, strings.Split(strings.TrimSpace(string(content)), "\n"), file)
	}
}

// TestGoldenIDsAreParsed reads what every version has written: backups live
// longer than releases.
func TestGoldenIDsAreParsed(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		for _, line := range goldenLines(t, "volume."+version) {
			id, err := ParseVolumeID(line.text)
			require.NoError(t, err)
			require.Equal(t, volumeIDs[line.name], id)
		}
		for _, line := range goldenLines(t, "snapshot."+version) {
			id, err := ParseSnapshotID(line.text)
			require.NoError(t, err)
			require.Equal(t, snapshotIDs[line.name], id)
		}
	}
	for _, line := range goldenLines(t, "snapshot.v2.signed") {
		id, err := keysOf(t, oldKey).Parse(line.text, true)
		require.NoError(t, err)
		require.Equal(t, snapshotIDs[line.name], id)
	}
}

type goldenLine struct{ name, text string }

func goldenLines(t *testing.T, file string) []goldenLine {
	content, err := os.ReadFile(filepath.Join("testdata", "ids", file))
	require.NoError(t, err)
	var lines []goldenLine
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		name, text, ok := strings.Cut(line, "\t")
		require.True(t, ok, line)
		lines = append(lines, goldenLine{name, text})
	}
	require.NotEmpty(t, lines)
	return lines
}

// TestDocumentedIDs reads the IDs that stand in the documents.
func TestDocumentedIDs(t *testing.T) {
	files, err := filepath.Glob("../../../docs/*.md")
	require.NoError(t, err)
	seen := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, text := range regexp.MustCompile(`(?m)^csi://\S+$`).FindAllString(string(content), -1) {
			_, err := ParseSnapshotID(text)
			require.NoError(t, err, file)
			seen++
		}
	}
	require.Positive(t, seen)
}

func TestWrongIDs(t *testing.T) {
	const good = "csi://d/h?v=1&size=1Gi&mode=Filesystem&access=ReadWriteOnce"
	good2 := strings.Replace(good, "v=1", "v=2", 1)
	mac := "01234567:" + strings.Repeat("A", 43)
	for _, text := range []string{good, good2, good2 + "&group=g&member=h", good2 + "&signature=" + mac} {
		_, err := ParseSnapshotID(text)
		require.NoError(t, err)
	}
	for text, reason := range map[string]string{
		"":                                    "does not begin with csi://",
		"snap-0123":                           "does not begin with csi://",
		volumeIDs["plain"].String():           "does not begin with csi://",
		"csi://d/h":                           "no version",
		"csi://d/?v=1":                        "no handle",
		"csi://d?v=1":                         "no handle",
		"csi://-d/h?v=1":                      "no name of a CSI driver",
		"csi://d/h?v=3&size=1Gi":              `version "3"`,
		"csi://d/h?v=01&size=1Gi":             `version "01"`,
		"csi://d/h?size=1Gi":                  `version ""`,
		"csi://d/%zz?v=1":                     "not escaped the way",
		"csi://d/%4?v=1":                      "not escaped the way",
		"csi://d/%61?v=1":                     "not escaped the way",
		"csi://d/a b?v=1":                     "not escaped the way",
		good + "&colour=red":                  `"colour" is not known`,
		good + "&claim=a/b":                   `"claim" is not known to this release in version 1`,
		good + "&signature=x":                 `"signature" is not known`,
		good2 + "&claim=a":                    "namespace/name",
		good2 + "&secret.node-stage=a":        "namespace/name",
		good2 + "&secret.kitchen=a/b":         `"secret.kitchen" is not known`,
		good2 + "&group=g":                    "not among them",
		good2 + "&group=g&member=i":           "not among them",
		good2 + "&member=h":                   "lacks group",
		good2 + "&signature=x":                "no signature",
		good2 + "&signature=" + mac + "&pv=p": "not the last field",
		good + "&size=2Gi":                    "size stands there 2 times",
		good + "&":                            "key=value",
		good + "&class=":                      "key=value",
		good + "&deleteSecret=x":              "namespace/name",
		good + "&topology=zone":               "label:value",
		good + "&access=Always":               "no access mode",
		"csi://d/h?v=1&size=1Gi":              "neither Filesystem nor Block",
		"csi://d/h?v=1&mode=Block":            "no size",
		"csi://d/h?v=1&size=-1&mode=B":        "no size",
		"csi://d/h?v=1&size=1Gi&mode=Block":   "lacks access",
	} {
		_, err := ParseSnapshotID(text)
		require.ErrorContains(t, err, reason, text)
		require.ErrorContains(t, err, "no snapshot ID of this plugin")
	}
	_, err := ParseVolumeID("csi-volume://d/h?v=1")
	require.ErrorContains(t, err, "lacks pv")
	_, err = ParseNewVolumeID("csi-new-volume://d/h?v=2")
	require.ErrorContains(t, err, "lacks staging")
}

func FuzzSnapshotID(f *testing.F) {
	f.Add("hostpath.csi.k8s.io", "dadc5c81", int64(1<<30), "class", "ns", "secret", "zone", "a")
	f.Add("d", "\x00?&=%/ü", int64(1), "", "a/b", "", "", "")
	f.Add("not/a-driver", "handle", int64(1), "", "", "", "", "")
	f.Fuzz(func(t *testing.T, driver, handle string, size int64, class, namespace, name, key, value string) {
		id := SnapshotID{
			Driver: driver, Handle: handle, Size: size, Class: class, ManagedBy: name,
			Mode:        corev1.PersistentVolumeBlock,
			AccessModes: knownAccessModes,
			Group:       Group{Handle: "g" + value, Members: []string{"m" + key, handle}},
			PV:          key,
			Topology:    Topology{{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value, key}}}},
		}
		if !strings.Contains(namespace, "/") && !strings.Contains(name, "/") && namespace != "" && name != "" {
			id.ListSecret = SecretRef{Namespace: namespace, Name: name}
			id.Claim = id.ListSecret
			id.Secrets = Secrets{"node-stage": id.ListSecret}
		}
		parsed, err := ParseSnapshotID(id.String())
		if !driverName.MatchString(driver) || handle == "" || size <= 0 {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, id, parsed)
	})
}

// FuzzParse feeds the parsers anything: what they take, they give back.
func FuzzParse(f *testing.F) {
	for _, id := range snapshotIDs {
		f.Add(id.String())
	}
	for _, id := range newVolumeIDs {
		f.Add(id.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := ParseSnapshotID(text); err == nil {
			again, err := ParseSnapshotID(id.String())
			require.NoError(t, err)
			require.Equal(t, id, again)
		}
		if id, err := ParseNewVolumeID(text); err == nil {
			again, err := ParseNewVolumeID(id.String())
			require.NoError(t, err)
			require.Equal(t, id, again)
		}
	})
}
