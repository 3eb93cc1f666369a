package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	drillBucket = "drills"
	drilledApp  = "shop"
	alsoDrilled = "stock" // a second namespace of the application, with a ConfigMap
	// order is what the application's volume holds.
	order = "one order"
	// clusterRoles is a kind of the cluster; the role shop-reader is lost after the backup.
	clusterRoles = "clusterroles.rbac.authorization.k8s.io"
	// ofDrills selects all that drills make.
	ofDrills = "longshore.dev/purpose=drill"
)

// TestDrill drills small backups with the real Velero: two whose Jobs do not succeed,
// those that are killed at each step, the next one, which removes what these have left and
// passes, those that fail by other causes beside one that is interrupted, those that fail
// at each step, and that of the CronJob, which removes what it can of what their clean-up
// could not. Nothing is left of them but what was there before.
func TestDrill(t *testing.T) {
	d := startDrills(t)
	before := d.leftovers()

	jobFailed, jobDidNotEnd := d.jobs()
	killed := d.killed()
	passed := d.run(0, "orders", "--max-age", "1h", "--include-cluster-resources", clusterRoles, "--expect", "shop/configmaps/settings", "--expect-not", "shop/configmaps/later", "--", d.program, asksForOrder)
	d.requireRemoved(passed, killed)
	require.Equal(t, check.Warning, passed.step("archive").Outcome)
	require.Contains(t, passed.step("archive").Detail, "Service shop/elsewhere leads to db.example.com")
	require.Contains(t, passed.step("archive").Detail, "left out, since they are of the cluster: apiservices.apiregistration.k8s.io")
	require.Equal(t, "2 claims Bound", passed.step("claims").Detail)
	require.Regexp(t, `^[2-9] workloads ready$`, passed.step("workloads").Detail)
	require.Equal(t, "2 there, 3 missing, as they must be", passed.step("markers").Detail)
	require.Contains(t, passed.step("test").Detail, order)
	require.Equal(t, "2 Restores, 3 namespaces and 2 volumes, and 1 object of the cluster gone", passed.step("clean up").Detail)
	require.Positive(t, passed.RecoverySeconds)
	d.requireVerdict("orders", "passed, restored in ", "DrillPassed")
	jobFailed()
	jobDidNotEnd()
	d.nothingLeft(before)

	d.failBesideInterrupted()
	d.nothingLeft(before)
	removable := d.failEachWay()
	contents := d.plantContents(removable)
	d.requireRemains(d.cronJob(contents), removable, contents)
	d.removeByHand(contents)
	d.nothingLeft(before)
}

// drills are drills of backups of one small application.
type drills struct {
	*testing.T
	bed        *testbed.Bed
	cluster    *testbed.Cluster
	velero     *testbed.VeleroServer
	s3         *testbed.S3
	program    string      // this one, which is the user's test too
	kubeconfig string      // of who drills
	noKubelet  atomic.Bool // no workload is run
}

// newDrills starts a cluster with Velero, and nothing to drill.
func newDrills(t *testing.T) *drills {
	t.Helper()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{drillBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	velero, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: drillBucket})
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	return &drills{T: t, bed: bed, cluster: cluster, velero: velero, s3: s3, program: program, kubeconfig: cluster.Kubeconfig}
}

// startDrills starts them with the application and its backups.
func startDrills(t *testing.T) *drills {
	t.Helper()
	d := newDrills(t)
	cluster, velero := d.cluster, d.velero
	d.install()
	go d.kubelet()
	veleroCLI(t, velero, "backup", "create", "orders", "--include-namespaces", drilledApp+","+alsoDrilled, "--include-cluster-resources=true", "--labels", "velero.io/schedule-name=nightly")
	require.NoError(t, velero.WaitBackup(t.Context(), "orders", waitLimit))
	d.backUpClass()
	d.backUpFailing()
	// What comes after the backup, and what is lost.
	d.configMap("later")
	require.NoError(t, cluster.Kube.RbacV1().ClusterRoles().Delete(t.Context(), "shop-reader", metav1.DeleteOptions{}))
	return d
}

// install makes the application: two volumes, of which a class keeps one, things that
// reach outside, and a second namespace.
func (d *drills) install() {
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), drilledApp))
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), alsoDrilled))
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
apiVersion: v1
kind: ConfigMap
metadata: {name: levels, namespace: stock}
---
`+deployment(drilledApp, "web", "web")))
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "shop-reader"}}
	_, err := d.cluster.Kube.RbacV1().ClusterRoles().Create(d.Context(), role, metav1.CreateOptions{})
	require.NoError(d, err)
}

// deployment is one of a single pod.
func deployment(namespace, name, image string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: %[1]s, name: %[2]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[2]s}}
  template: {metadata: {labels: {app: %[2]s}}, spec: {containers: [{name: %[2]s, image: %[3]s}]}}
`, namespace, name, image)
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
	return d.begin(args...)(status)
}

// begin begins a drill, whose end the returned function waits for.
func (d *drills) begin(args ...string) (end func(status int) *drillTold) {
	d.Helper()
	return d.beginAs(d.command(d.Context(), args...), args)
}

// beginAs begins a drill as this command.
func (d *drills) beginAs(command *exec.Cmd, args []string) (end func(status int) *drillTold) {
	d.Helper()
	began := time.Now()
	var out bytes.Buffer
	command.Stdout = &out
	require.NoError(d, command.Start())
	return func(status int) *drillTold {
		d.Helper()
		_ = command.Wait()
		require.Equal(d, status, command.ProcessState.ExitCode(), "%v: %s", args, out.String())
		var told drillTold
		require.NoError(d, json.Unmarshal(out.Bytes(), &told), "%s", out.String())
		require.Equal(d, status == 0, told.OK)
		d.Logf("drill %v: %s%s", args, time.Since(began).Round(100*time.Millisecond), told.times())
		return &told
	}
}

// failBesideInterrupted makes drills that fail, each by its causes, beside another one.
// That is left alone, and then ended by a person's Ctrl-C.
func (d *drills) failBesideInterrupted() {
	d.Helper()
	interrupted := d.start("orders", "--include-cluster-resources", clusterRoles, "--", d.program, holds)
	d.await("a drill to come to its test", func() bool { return exists(reachedFile(interrupted)) })
	require.NoError(d, d.cluster.Kube.StorageV1().StorageClasses().Delete(d.Context(), "lost", metav1.DeleteOptions{}))
	file := filepath.Join(d.TempDir(), "drill.prom")
	failing := d.begin("orders", "--metrics", file, "--max-age", "1ms", "--expect-not", "shop/configmaps/settings", "--", d.program, saysNo)
	unbound := d.begin(lostClass)

	failed := failing(1)
	require.Regexp(d, `^none; under way: [a-z2-7]{8} by `, failed.step("remains").Detail)
	require.Equal(d, []string{"age", "markers", "test"}, failed.failures())
	require.Contains(d, failed.step("markers").Detail, "shop/configmaps/settings is there")
	require.Equal(d, "exit status 3: no such order", failed.step("test").Detail)
	d.requireVerdict("orders", "failed: age, markers, test", "DrillFailed")
	d.requireMetrics(file)
	d.neverBound(unbound(1))
	require.Len(d, d.namespaces(), 3)
	require.Len(d, d.objects("restores"), 2)

	before := d.annotation("orders")
	require.NoError(d, interrupted.Process.Signal(os.Interrupt))
	requireInterrupted(d.T, interrupted)
	require.Equal(d, before, d.annotation("orders"), "an interrupted drill says nothing about the backup")
}

func requireInterrupted(t *testing.T, command *exec.Cmd) {
	t.Helper()
	_ = command.Wait()
	require.Equal(t, 1, command.ProcessState.ExitCode())
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
func (d *drills) neverBound(told *drillTold) {
	d.Helper()
	require.Equal(d, check.Warning, told.step("archive").Outcome)
	require.Contains(d, told.step("archive").Detail, "come back empty: bank/data (its volume was not saved)")
	require.Equal(d, check.OK, told.step("restore").Outcome, "%+v", told.step("restore"))
	require.Equal(d, []string{"claims"}, told.failures())
	require.Contains(d, told.step("claims").Detail, "claim data is Pending for ever: StorageClass lost is not in this cluster")
	require.Equal(d, "1 Restore, 2 namespaces and 0 volumes gone", told.step("clean up").Detail)
	d.requireVerdict(lostClass, "failed: claims", "DrillFailed")
}

// lostClass is the backup of a volume whose class is lost afterwards.
const lostClass = "lost-class"

// backUpClass makes that backup, and one of a ConfigMap.
func (d *drills) backUpClass() {
	d.replaceClass(testbed.DriverName)
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), "bank"))
	_, err := d.cluster.CreateClaim(d.Context(), testbed.ClaimOptions{Namespace: "bank", Name: "data", Class: "lost"})
	require.NoError(d, err)
	veleroCLI(d.T, d.velero, "backup", "create", lostClass, "--include-namespaces", "bank", "--snapshot-volumes=false")
	veleroCLI(d.T, d.velero, "backup", "create", "levels", "--include-namespaces", alsoDrilled)
	require.NoError(d, d.velero.WaitBackup(d.Context(), lostClass, waitLimit))
	require.NoError(d, d.velero.WaitBackup(d.Context(), "levels", waitLimit))
}

// replaceClass has another provisioner make the volumes of that class.
func (d *drills) replaceClass(provisioner string) {
	d.Helper()
	err := d.cluster.Kube.StorageV1().StorageClasses().Delete(d.Context(), "lost", metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		require.NoError(d, err)
	}
	require.NoError(d, d.cluster.Apply(d.Context(), `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: lost}
provisioner: `+provisioner+`
`))
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
	require.Equal(d, 1, d.events(backup, reason, text))
}

// events counts those on a Backup.
func (d *drills) events(backup, reason, text string) (n int) {
	d.Helper()
	list, err := d.cluster.Kube.CoreV1().Events(d.velero.Namespace).List(d.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + backup + ",reason=" + reason})
	require.NoError(d, err)
	for _, event := range list.Items {
		if event.Message == text {
			n++
		}
	}
	return n
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
