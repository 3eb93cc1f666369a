package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	drillBucket = "drills"
	drilledApp  = "shop"
	// order is what the application's volume holds.
	order = "one order"
	// clusterRoles is a kind of the cluster; the role shop-reader is lost after the backup.
	clusterRoles = "clusterroles.rbac.authorization.k8s.io"
	// ofDrills selects all that drills make.
	ofDrills = "longshore.dev/purpose=drill"
)

// TestDrill drills small backups with the real Velero: a drill that is killed, the
// next one, which removes what that has left and passes, one whose claim is never
// Bound, one that fails beside another, which is interrupted, and that of the CronJob.
// Nothing is left of them but what was there before.
func TestDrill(t *testing.T) {
	d := startDrills(t)
	before := d.leftovers()

	d.killed()
	passed := d.run(0, "orders", "--max-age", "1h", "--include-cluster-resources", clusterRoles, "--expect", "configmaps/settings", "--expect-not", "configmaps/later", "--", d.program, asksForOrder)
	require.Contains(t, passed.step("remains").Detail, "removed 2 Restores, 2 namespaces and 2 volumes, and 1 object of the cluster of drill")
	require.Equal(t, check.Warning, passed.step("archive").Outcome)
	require.Contains(t, passed.step("archive").Detail, "Service shop/elsewhere leads to db.example.com")
	require.Contains(t, passed.step("archive").Detail, "left out, since they are of the cluster: apiservices.apiregistration.k8s.io")
	require.Equal(t, "2 claims Bound", passed.step("claims").Detail)
	require.Equal(t, "1 workload ready", passed.step("workloads").Detail)
	require.Equal(t, "2 there, 2 missing, as they must be", passed.step("markers").Detail)
	require.Contains(t, passed.step("test").Detail, order)
	require.Equal(t, "2 Restores, 2 namespaces and 2 volumes, and 1 object of the cluster gone", passed.step("clean up").Detail)
	require.Positive(t, passed.RecoverySeconds)
	d.requireVerdict("orders", "passed, restored in ", "DrillPassed")
	d.nothingLeft(before)

	d.neverBound()
	d.nothingLeft(before)
	d.failsBesideInterrupted()
	d.nothingLeft(before)
	d.cronJob()
	d.nothingLeft(before)
}

// drills are drills of backups of one small application.
type drills struct {
	*testing.T
	bed        *testbed.Bed
	cluster    *testbed.Cluster
	velero     *testbed.VeleroServer
	program    string // this one, which is the user's test too
	kubeconfig string // of who drills
}

func startDrills(t *testing.T) *drills {
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{drillBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	velero, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: drillBucket})
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	d := &drills{t, bed, cluster, velero, program, cluster.Kubeconfig}
	d.install()
	veleroCLI(t, velero, "backup", "create", "orders", "--include-namespaces", drilledApp, "--include-cluster-resources=true", "--labels", "velero.io/schedule-name=nightly")
	require.NoError(t, velero.WaitBackup(t.Context(), "orders", waitLimit))
	d.backUpClass()
	// What comes after the backup, and what is lost.
	d.configMap("later")
	require.NoError(t, cluster.Kube.RbacV1().ClusterRoles().Delete(t.Context(), "shop-reader", metav1.DeleteOptions{}))
	return d
}

// install makes the application: two volumes, of which a class keeps one, and things
// that reach outside.
func (d *drills) install() {
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), drilledApp))
	for name, class := range map[string]string{"data": testbed.ClassImmediate, "kept": testbed.ClassRetain} {
		_, err := d.cluster.CreateClaim(d.Context(), testbed.ClaimOptions{Namespace: drilledApp, Name: name, Class: class})
		require.NoError(d, err)
		dir, err := d.cluster.ClaimDir(d.Context(), drilledApp, name)
		require.NoError(d, err)
		require.NoError(d, os.WriteFile(filepath.Join(dir, "file"), []byte(order), 0o600))
	}
	d.configMap("settings")
	require.NoError(d, d.cluster.Apply(d.Context(), `
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: shop}
spec: {type: ExternalName, externalName: db.example.com}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}
`))
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "shop-reader"}}
	_, err := d.cluster.Kube.RbacV1().ClusterRoles().Create(d.Context(), role, metav1.CreateOptions{})
	require.NoError(d, err)
}

func (d *drills) configMap(name string) {
	_, err := d.cluster.Kube.CoreV1().ConfigMaps(drilledApp).Create(d.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(d, err)
}

type drillStep struct {
	check.Result
	Seconds float64
}

// drillTold is what a drill tells a program.
type drillTold struct {
	OK              bool
	Backup          string
	Steps           []drillStep
	RecoverySeconds float64
}

func (d *drillTold) step(name string) check.Result {
	for _, s := range d.Steps {
		if s.Step == name {
			return s.Result
		}
	}
	return check.Result{}
}

// times are how long the steps took.
func (d *drillTold) times() (text string) {
	for _, s := range d.Steps {
		text += fmt.Sprintf(", %s %.1f", s.Step, s.Seconds)
	}
	return text
}

func (d *drillTold) failures() (names []string) {
	for _, s := range d.Steps {
		if s.Outcome == check.Failed {
			names = append(names, s.Step)
		}
	}
	return names
}

// command is a drill, as a person starts it.
func (d *drills) command(ctx context.Context, args ...string) *exec.Cmd {
	plugin, err := testbed.Plugin.Path(ctx)
	require.NoError(d, err)
	command := exec.CommandContext(ctx, plugin, append([]string{"drill", "-o", "json"}, args...)...)
	command.Env = []string{
		"HOME=" + d.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "AWS_EC2_METADATA_DISABLED=true",
		"KUBECONFIG=" + d.kubeconfig, "DRILL_TEST_STORAGE=" + d.cluster.Storage,
	}
	command.Stderr = d.Output()
	return command
}

// run makes a drill to its end and wants this exit status of it.
func (d *drills) run(status int, args ...string) *drillTold {
	d.Helper()
	began := time.Now()
	command := d.command(d.Context(), args...)
	out, err := command.Output()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(d, err, &exit)
	}
	require.Equal(d, status, command.ProcessState.ExitCode(), "%v: %s", args, out)
	var told drillTold
	require.NoError(d, json.Unmarshal(out, &told), "%s", out)
	require.Equal(d, status == 0, told.OK)
	d.Logf("drill %v: %s%s", args, time.Since(began).Round(100*time.Millisecond), told.times())
	return &told
}

// underWay starts a drill and returns when its test is run on what was restored.
func (d *drills) underWay() *exec.Cmd {
	d.Helper()
	reached := filepath.Join(d.TempDir(), "reached")
	command := d.command(context.WithoutCancel(d.Context()), "orders", "--include-cluster-resources", clusterRoles, "--", d.program, holds)
	command.Env = append(command.Env, "DRILL_TEST_REACHED="+reached)
	require.NoError(d, command.Start())
	d.Cleanup(func() { _ = command.Process.Kill() })
	require.Eventually(d, func() bool { _, err := os.Stat(reached); return err == nil }, waitLimit, 50*time.Millisecond, "the drill does not come to its test")
	return command
}

// killed kills a drill when all is restored.
func (d *drills) killed() {
	d.Helper()
	command := d.underWay()
	require.NoError(d, command.Process.Kill())
	require.Error(d, command.Wait())
	require.Len(d, d.namespaces(), 2, "the one that it restored into and the empty one")
	require.Len(d, d.objects("restores"), 2)
	require.Len(d, d.leftovers().StorageVolumes, 5, "two of the application, one of the bank, and two restored ones")
	d.neverClaimed()
}

// neverClaimed makes a volume as the Restore of the killed drill does whose claim is
// refused.
func (d *drills) neverClaimed() {
	d.Helper()
	id := d.namespaces()[0].Labels["longshore.dev/drill"]
	require.NoError(d, d.cluster.Apply(d.Context(), fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata:
  name: never-claimed
  labels: {velero.io/restore-name: longshore-drill-%[1]s}
  annotations: {pv.kubernetes.io/provisioned-by: %[2]s}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  storageClassName: hostpath
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: drill-%[1]s-shop, name: refused}
  csi: {driver: %[2]s, volumeHandle: never-claimed}
`, id, testbed.DriverName)))
}

// failsBesideInterrupted makes a drill that fails by three causes beside another one.
// That is left alone, and then ended by a person's Ctrl-C.
func (d *drills) failsBesideInterrupted() {
	d.Helper()
	command := d.underWay()
	file := filepath.Join(d.TempDir(), "drill.prom")
	failed := d.run(1, "orders", "--metrics", file, "--max-age", "1ms", "--expect-not", "configmaps/settings", "--", d.program, saysNo)
	require.Regexp(d, `^none; under way: [a-z2-7]{8} by `, failed.step("remains").Detail)
	require.Equal(d, []string{"age", "markers", "test"}, failed.failures())
	require.Contains(d, failed.step("markers").Detail, "shop/configmaps/settings is there")
	require.Equal(d, "exit status 3: no such order", failed.step("test").Detail)
	d.requireVerdict("orders", "failed: age, markers, test", "DrillFailed")
	d.requireMetrics(file)
	require.Len(d, d.namespaces(), 2)
	require.Len(d, d.objects("restores"), 2)

	before := d.annotation("orders")
	require.NoError(d, command.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	require.ErrorAs(d, command.Wait(), &exit)
	require.Equal(d, 1, exit.ExitCode())
	require.Equal(d, before, d.annotation("orders"), "an interrupted drill says nothing about the backup")
}

// requireMetrics wants the metrics of that drill, which promtool accepts.
func (d *drills) requireMetrics(file string) {
	d.Helper()
	text, err := os.ReadFile(file)
	require.NoError(d, err)
	const group = `bucket="` + drillBucket + `",prefix="",schedule="nightly"`
	require.Contains(d, string(text), "longshore_drill_ok{"+group+"} 0\n")
	require.Regexp(d, `longshore_drill_step_seconds{`+group+`,step="markers",outcome="failed"} [0-9.]+\n`, string(text))
	said, err := testbed.Promtool(d.Context(), string(text), "check", "metrics")
	require.NoError(d, err)
	require.Empty(d, said, "promtool has nothing to say about it")
}

// neverBound is a drill whose claim gets no volume: its StorageClass is gone.
func (d *drills) neverBound() {
	d.Helper()
	require.NoError(d, d.velero.WaitBackup(d.Context(), lostClass, waitLimit))
	require.NoError(d, d.cluster.Kube.StorageV1().StorageClasses().Delete(d.Context(), "lost", metav1.DeleteOptions{}))
	told := d.run(1, lostClass)
	require.Equal(d, check.Warning, told.step("archive").Outcome)
	require.Contains(d, told.step("archive").Detail, "come back empty, since their volumes were not saved: bank/data")
	require.Equal(d, check.OK, told.step("restore").Outcome, "%+v", told.step("restore"))
	require.Equal(d, []string{"claims"}, told.failures())
	require.Contains(d, told.step("claims").Detail, "claim data is Pending for ever: StorageClass lost is not in this cluster")
	require.Equal(d, "1 Restore, 2 namespaces and 0 volumes gone", told.step("clean up").Detail)
	d.requireVerdict(lostClass, "failed: claims", "DrillFailed")
}

// lostClass is the backup of a volume whose class is lost afterwards.
const lostClass = "lost-class"

// backUpClass begins that backup.
func (d *drills) backUpClass() {
	require.NoError(d, d.cluster.Apply(d.Context(), `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: lost}
provisioner: `+testbed.DriverName+`
`))
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), "bank"))
	_, err := d.cluster.CreateClaim(d.Context(), testbed.ClaimOptions{Namespace: "bank", Name: "data", Class: "lost"})
	require.NoError(d, err)
	veleroCLI(d.T, d.velero, "backup", "create", lostClass, "--include-namespaces", "bank", "--snapshot-volumes=false")
}

func (d *drills) namespaces() []corev1.Namespace {
	d.Helper()
	list, err := d.cluster.Kube.CoreV1().Namespaces().List(d.Context(), metav1.ListOptions{LabelSelector: ofDrills})
	require.NoError(d, err)
	return list.Items
}

func (d *drills) objects(kind string) []string {
	d.Helper()
	list, err := d.velero.Objects(kind).List(d.Context(), metav1.ListOptions{LabelSelector: ofDrills})
	require.NoError(d, err)
	var names []string
	for _, o := range list.Items {
		names = append(names, o.GetName())
	}
	return names
}

func (d *drills) annotation(backup string) string {
	d.Helper()
	object, err := d.velero.Objects("backups").Get(d.Context(), backup, metav1.GetOptions{})
	require.NoError(d, err)
	return object.GetAnnotations()["longshore.dev/drilled"]
}

// requireVerdict wants the verdict in the Backup's annotation and in an Event.
func (d *drills) requireVerdict(backup, verdict, reason string) {
	d.Helper()
	when, text, _ := strings.Cut(d.annotation(backup), " ")
	_, err := time.Parse(time.RFC3339, when)
	require.NoError(d, err)
	require.Contains(d, text, verdict)
	events, err := d.cluster.Kube.CoreV1().Events(d.velero.Namespace).List(d.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + backup + ",reason=" + reason})
	require.NoError(d, err)
	require.Len(d, events.Items, 1)
	require.Equal(d, text, events.Items[0].Message)
}

// leftovers are those but for the StorageClasses of restores, which are the plugin's
// to remove: it does so while its process lives, or by a sweep.
func (d *drills) leftovers() testbed.Leftovers {
	d.Helper()
	left, err := d.cluster.Leftovers(d.Context())
	require.NoError(d, err)
	left.StorageClasses = nil
	return left
}

// nothingLeft wants all to be as before, and the application to be untouched.
func (d *drills) nothingLeft(before testbed.Leftovers) {
	d.Helper()
	require.Equal(d, before, d.leftovers())
	require.Empty(d, d.namespaces())
	require.Empty(d, d.objects("restores"))
	leases, err := d.cluster.Kube.CoordinationV1().Leases("").List(d.Context(), metav1.ListOptions{LabelSelector: ofDrills})
	require.NoError(d, err)
	require.Empty(d, leases.Items)
	_, err = d.cluster.Kube.RbacV1().ClusterRoles().Get(d.Context(), "shop-reader", metav1.GetOptions{})
	require.True(d, apierrors.IsNotFound(err), "what belongs to the cluster is not restored: %v", err)
	requireBound(d.T, d.cluster)
}

func requireBound(t *testing.T, cluster *testbed.Cluster) {
	t.Helper()
	for _, name := range []string{"data", "kept"} {
		dir, err := cluster.ClaimDir(t.Context(), drilledApp, name)
		require.NoError(t, err)
		content, err := os.ReadFile(filepath.Join(dir, "file"))
		require.NoError(t, err)
		require.Equal(t, order, string(content))
	}
}

// What the user's test does, by its one argument.
const (
	asksForOrder = "drill-test-asks"
	saysNo       = "drill-test-says-no"
	holds        = "drill-test-holds"
)

// drillTest is the user's test of a drill: it wants to read the order in the volume
// of the namespace that it is given.
func drillTest(what string) error {
	content, err := readOrder(context.Background(), what, os.Getenv("DRILL_NAMESPACE"), os.Getenv("DRILL_TEST_STORAGE"))
	switch {
	case err != nil:
		return err
	case content != order:
		return fmt.Errorf("the order is %q", content)
	case what == saysNo:
		return errors.New("no such order")
	case what == holds:
		if err := os.WriteFile(os.Getenv("DRILL_TEST_REACHED"), nil, 0o600); err != nil {
			return err
		}
		for parent := os.Getppid(); os.Getppid() == parent; { // until the drill is killed
			time.Sleep(100 * time.Millisecond)
		}
	}
	fmt.Println("there is", content)
	return nil
}

func readOrder(ctx context.Context, what, namespace, storage string) (string, error) {
	config, err := kube.Config("", "")
	if err != nil {
		return "", err
	}
	client, err := kube.New(config, kube.Options{QPS: 10, Burst: 10})
	if err != nil {
		return "", err
	}
	claim, err := client.Claims.In(namespace).Get(ctx, "data")
	if err != nil {
		return "", err
	}
	pv, err := client.PersistentVolumes.Get(ctx, claim.Spec.VolumeName)
	if err != nil {
		return "", err
	}
	if what == asksForOrder {
		if _, err := client.Raw(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterroles/shop-reader", nil, nil); err != nil {
			return "", err
		}
	}
	content, err := os.ReadFile(filepath.Join(storage, "volumes", pv.Spec.CSI.VolumeHandle, "data", "file"))
	return string(content), err
}

// runDrillTest is for TestMain: it ends the process if that is the user's test.
func runDrillTest() {
	if len(os.Args) != 2 || !strings.HasPrefix(os.Args[1], "drill-test-") {
		return
	}
	if err := drillTest(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}
