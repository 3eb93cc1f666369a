package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const testProvider = "longshore.dev/test"

// veleroClient is Velero's own plugin manager over the plugins of one folder,
// with what they logged.
type veleroClient struct {
	clientmgmt.Manager
	logs *logrustest.Hook
}

// newVeleroClient discovers the plugin at path as Velero does at its start.
func newVeleroClient(t testing.TB, path string) *veleroClient {
	t.Helper()
	passServerArguments(t)
	log, logs := logrustest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	registry := process.NewRegistry(filepath.Dir(path), log, logrus.DebugLevel)
	require.NoError(t, registry.DiscoverPlugins())
	manager := clientmgmt.NewManager(log, logrus.DebugLevel, registry)
	t.Cleanup(manager.CleanupClients)
	return &veleroClient{Manager: manager, logs: logs}
}

func passServerArguments(t testing.TB) {
	before := os.Args
	os.Args = append([]string{before[0]}, serverArguments...)
	t.Cleanup(func() { os.Args = before })
}

// line returns the first entry that Velero logged with this message, waiting
// for it a while: logs come through a pipe of their own.
func (c *veleroClient) line(t *testing.T, message string) *logrus.Entry {
	t.Helper()
	var found *logrus.Entry
	require.Eventually(t, func() bool {
		for _, entry := range c.logs.AllEntries() {
			if entry.Message == message {
				found = entry
			}
		}
		return found != nil
	}, 5*time.Second, 10*time.Millisecond, "no log line %q", message)
	return found
}

// openTestStore returns the test plugin's object store over a new folder, which
// is removed after the plugin has ended.
func openTestStore(t testing.TB) (*veleroClient, velero.ObjectStore, string) {
	t.Helper()
	dir := t.TempDir()
	client := newVeleroClient(t, testPlugin(t))
	return client, client.open(t, dir), dir
}

// open asks Velero's manager for the object store over a folder, as each of
// Velero's controllers does: all of them share one plugin process.
func (c *veleroClient) open(t testing.TB, dir string) velero.ObjectStore {
	t.Helper()
	store, err := c.GetObjectStore(testProvider)
	require.NoError(t, err)
	require.NoError(t, store.Init(map[string]string{"dir": dir}))
	return store
}

func notes(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "notes"))
	require.NoError(t, err)
	return string(content)
}

func TestProtocolObjects(t *testing.T) {
	_, store, _ := openTestStore(t)
	body := bytes.Repeat([]byte("0123456789"), 100_000)

	require.NoError(t, store.PutObject("b", "k", bytes.NewReader(body)))
	exists, err := store.ObjectExists("b", "k")
	require.NoError(t, err)
	require.True(t, exists)
	reader, err := store.GetObject("b", "k")
	require.NoError(t, err)
	content, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	require.True(t, bytes.Equal(body, content))
	url, err := store.CreateSignedURL("b", "k", 10*time.Minute)
	require.NoError(t, err)
	require.Equal(t, "https://b/k?ttl=10m0s", url)
	require.NoError(t, store.DeleteObject("b", "k"))
}

func TestProtocolVolumes(t *testing.T) {
	client := newVeleroClient(t, testPlugin(t))
	snapshotter, err := client.GetVolumeSnapshotter(testProvider)
	require.NoError(t, err)
	require.NoError(t, snapshotter.Init(nil))

	id, err := snapshotter.CreateSnapshot("vol", "zone", map[string]string{"k": "v"})
	require.NoError(t, err)
	require.Equal(t, "volzonemap[k:v]", id)
	id, err = snapshotter.CreateVolumeFromSnapshot("snap", "type", "zone", nil)
	require.NoError(t, err)
	require.Equal(t, "snaptypezonenil", id)
	iops := int64(7)
	id, err = snapshotter.CreateVolumeFromSnapshot("snap", "type", "zone", &iops)
	require.NoError(t, err)
	require.Equal(t, "snaptypezone7", id)
	require.ErrorContains(t, snapshotter.DeleteSnapshot("snap"), "delete snapshot snap: no")

	pv := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolume", "spec": map[string]any{"handle": "old"}}}
	changed, err := snapshotter.SetVolumeID(pv, "new")
	require.NoError(t, err)
	handle, _, err := unstructured.NestedString(changed.UnstructuredContent(), "spec", "handle")
	require.NoError(t, err)
	require.Equal(t, "new", handle)
	id, err = snapshotter.GetVolumeID(pv)
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"v1","kind":"PersistentVolume","spec":{"handle":"old"}}`, id)
}

func TestProtocolItems(t *testing.T) {
	actions, err := newVeleroClient(t, testPlugin(t)).GetBackupItemActionsV2()
	require.NoError(t, err)
	require.Len(t, actions, 1)
	action, backup := actions[0], &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "b"}}
	require.Equal(t, testProvider, action.Name())
	selector, err := action.AppliesTo()
	require.NoError(t, err)
	require.Equal(t, velero.ResourceSelector{IncludedResources: []string{"persistentvolumes"}}, selector)

	pv := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": "pv"}}}
	item, additional, operation, later, err := action.Execute(pv, backup)
	require.NoError(t, err)
	require.Equal(t, pv.Object, item.UnstructuredContent())
	require.Equal(t, "pv of b", operation)
	require.Empty(t, append(additional, later...))
	pv.SetName("refuse")
	_, _, _, _, err = action.Execute(pv, backup)
	require.ErrorContains(t, err, "execute: no")

	progress, err := action.Progress("o", backup)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), progress.Updated, time.Minute)
	progress.Updated = time.Time{}
	require.Equal(t, velero.OperationProgress{
		Completed: true, Err: "no space", NCompleted: 1, NTotal: 2, OperationUnits: "volumes", Description: "o in b", Started: time.Unix(1_000_000_000, 0).UTC(),
	}, progress)
	require.ErrorContains(t, action.Cancel("o", backup), "cancel o: no")
}

func TestProtocolRestoredItems(t *testing.T) {
	actions, err := newVeleroClient(t, testPlugin(t)).GetRestoreItemActionsV2()
	require.NoError(t, err)
	require.Len(t, actions, 1)
	action, restore := actions[0], &velerov1.Restore{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	selector, err := action.AppliesTo()
	require.NoError(t, err)
	require.Equal(t, []string{"persistentvolumes"}, selector.IncludedResources)

	pv := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": "pv"}}}
	output, err := action.Execute(&velero.RestoreItemActionExecuteInput{Item: pv, ItemFromBackup: pv, Restore: restore})
	require.NoError(t, err)
	require.Equal(t, pv.Object, output.UpdatedItem.UnstructuredContent())
	require.Equal(t, "pv of r", output.OperationID)
	require.False(t, output.SkipRestore)
	progress, err := action.Progress("o", restore)
	require.NoError(t, err)
	require.Equal(t, "o in r", progress.Description)
	require.ErrorContains(t, action.Cancel("o", restore), "cancel o: no")
	ready, err := action.AreAdditionalItemsReady(nil, restore)
	require.NoError(t, err)
	require.True(t, ready)
}

func TestProtocolErrorsArriveWhole(t *testing.T) {
	client, store, dir := openTestStore(t)
	large := func() io.Reader { return bytes.NewReader(make([]byte, 8<<20)) }

	t.Run("a refused upload is no EOF", func(t *testing.T) {
		err := store.PutObject("b", "refuse", large())
		require.ErrorContains(t, err, "put object refuse: the storage is full (InsufficientCapacity, HTTP 507); free some space")
		located, ok := err.(interface{ File() string })
		require.True(t, ok)
		require.Contains(t, located.File(), "internal/pluginserver/objectstore.go")
	})
	t.Run("an upload that ends early", func(t *testing.T) {
		err := store.PutObject("b", "half", bytes.NewReader(make([]byte, 100_000)))
		require.ErrorContains(t, err, "the object is not whole")
	})
	t.Run("an empty body", func(t *testing.T) {
		require.ErrorContains(t, store.PutObject("b", "empty", strings.NewReader("")), "the body is empty")
	})
	t.Run("a torn download", func(t *testing.T) {
		reader, err := store.GetObject("b", "torn")
		require.NoError(t, err)
		content, err := io.ReadAll(reader)
		require.ErrorContains(t, err, "the connection broke after 100000 of 200000 bytes")
		require.LessOrEqual(t, len(content), 100_000)
	})
	t.Run("a panic", func(t *testing.T) {
		err := store.PutObject("b", "panic", large())
		require.ErrorContains(t, err, "plugin panicked: at the disco")
		_, err = store.ListObjects("b", "")
		require.ErrorContains(t, err, "plugin panicked: an error as panic")
		located, ok := err.(interface{ Function() string })
		require.True(t, ok)
		require.Contains(t, located.Function(), "ListObjects")
		exists, err := store.ObjectExists("b", "still alive")
		require.NoError(t, err)
		require.False(t, exists)
	})
	t.Run("a failed Init", func(t *testing.T) {
		other, err := client.GetObjectStore(testProvider)
		require.NoError(t, err)
		require.ErrorContains(t, other.Init(map[string]string{"dir": ""}), `dir: "" is not accepted`)
		_, err = store.ObjectExists("b", "k")
		require.ErrorContains(t, err, "its last Init failed")
		client.open(t, dir)
		_, err = store.ObjectExists("b", "k")
		require.NoError(t, err)
	})
	t.Run("a call before Init", func(t *testing.T) {
		client := newVeleroClient(t, testPlugin(t))
		snapshotter, err := client.GetVolumeSnapshotter(testProvider)
		require.NoError(t, err)
		_, err = snapshotter.CreateSnapshot("v", "", nil)
		require.ErrorContains(t, err, "was called before Init")
	})
}

// TestProtocolBodyThatFails shows that Velero knows of its own failure, and that
// the plugin cannot: Velero's client ends the stream as after a whole body.
func TestProtocolBodyThatFails(t *testing.T) {
	_, store, dir := openTestStore(t)
	broken := io.MultiReader(strings.NewReader("begin"), brokenReader{})
	require.ErrorContains(t, store.PutObject("b", "k", broken), "disk on fire")
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "k"))
		return err == nil && string(content) == "begin"
	}, 5*time.Second, 10*time.Millisecond)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestProtocolLogs(t *testing.T) {
	client, _, dir := openTestStore(t)
	debug := client.line(t, "a debug line")
	require.Equal(t, logrus.DebugLevel, debug.Level)
	require.Equal(t, dir, debug.Data["dir"])
	require.Contains(t, debug.Data["logSource"], "testplugin/main.go:")
	info := client.line(t, "an info line")
	require.Equal(t, logrus.InfoLevel, info.Level)
	require.InEpsilon(t, 3, info.Data["attempt"], 0.01)
	warning := client.line(t, "a warning line")
	require.Equal(t, logrus.WarnLevel, warning.Level)
	require.Equal(t, "some cause", warning.Data["error"])
	require.Equal(t, "opened EnableCSI+EnableOther\n", notes(t, dir))
}

func TestProtocolInitIsRepeated(t *testing.T) {
	client, _, first := openTestStore(t)
	second := t.TempDir()
	for _, dir := range []string{first, first, second, second, first} {
		prefixes, err := client.open(t, dir).ListCommonPrefixes("b", "", "/")
		require.NoError(t, err)
		require.Equal(t, []string{dir}, prefixes)
	}
	require.Equal(t, 2, strings.Count(notes(t, first), "opened"), "the same settings again keep the plugin")
	require.Equal(t, 1, strings.Count(notes(t, second), "opened"))
}

func TestProtocolConcurrentCalls(t *testing.T) {
	client, store, dir := openTestStore(t)
	var calls errgroup.Group
	for i := range 16 {
		calls.Go(func() error { return putAndGet(store, i) })
		calls.Go(func() error {
			again, err := client.GetObjectStore(testProvider)
			if err != nil {
				return err
			}
			return again.Init(map[string]string{"dir": dir})
		})
	}
	require.NoError(t, calls.Wait())
}

// putAndGet stores an object of a size and content of its own, and reads it.
func putAndGet(store velero.ObjectStore, i int) error {
	key, body := fmt.Sprintf("key-%d", i), bytes.Repeat([]byte{byte(i)}, 100_000*i+1)
	if err := store.PutObject("b", key, bytes.NewReader(body)); err != nil {
		return err
	}
	reader, err := store.GetObject("b", key)
	if err != nil {
		return err
	}
	defer reader.Close()
	content, err := io.ReadAll(reader)
	if err == nil && !bytes.Equal(body, content) {
		err = fmt.Errorf("%s has %d bytes that are not those that were stored", key, len(content))
	}
	return err
}

func TestProtocolRestartedAfterKill(t *testing.T) {
	_, store, dir := openTestStore(t)
	killPlugins(t, testPlugin(t))
	require.Eventually(t, func() bool {
		exists, err := store.ObjectExists("b", "k")
		return err == nil && !exists
	}, 10*time.Second, 50*time.Millisecond)
	require.Equal(t, 2, strings.Count(notes(t, dir), "opened"), "Velero has set it up again")
}

// TestProtocolClientGone runs Velero's client in a process of its own, kills it
// while it uploads, and looks at what the plugin made of it.
func TestProtocolClientGone(t *testing.T) {
	dir := t.TempDir()
	client := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestProtocolHelperUpload$")
	client.Env = append(os.Environ(), "HELPER_PLUGIN="+testPlugin(t), "HELPER_DIR="+dir)
	require.NoError(t, client.Start())
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "uploading"))
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "the upload did not begin")
	require.NoError(t, client.Process.Kill())
	_ = client.Wait()

	require.Eventually(t, func() bool { return strings.Contains(notes(t, dir), "aborted unfinished true") },
		10*time.Second, 20*time.Millisecond, "the plugin did not see its client go")
	require.NoFileExists(t, filepath.Join(dir, "unfinished"))
}

// TestProtocolHelperUpload is the client that TestProtocolClientGone kills.
func TestProtocolHelperUpload(t *testing.T) {
	dir := os.Getenv("HELPER_DIR")
	if dir == "" {
		return
	}
	client := newVeleroClient(t, os.Getenv("HELPER_PLUGIN"))
	_ = client.open(t, dir).PutObject("b", "unfinished", io.MultiReader(
		bytes.NewReader(make([]byte, 1<<20)), &endlessReader{marker: filepath.Join(dir, "uploading")}))
}

// endlessReader marks its first read and then gives a byte now and then.
type endlessReader struct{ marker string }

func (r *endlessReader) Read(p []byte) (int, error) {
	if err := os.WriteFile(r.marker, nil, 0o600); err != nil {
		return 0, err
	}
	time.Sleep(10 * time.Millisecond)
	return copy(p, "x"), nil
}
