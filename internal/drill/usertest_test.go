package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

func TestCommand(t *testing.T) {
	p := place{"abcd2345", "nightly", map[string]string{"shop": "drill-1-shop", "bank": "drill-1-bank"}}
	run := func(words ...string) (string, error) { return Command(words).run(t.Context(), nil, p) }

	detail, err := run("sh", "-c", `echo first; echo "$DRILL_BACKUP $DRILL_NAMESPACE $DRILL_NAMESPACES"`)
	require.NoError(t, err)
	require.Equal(t, "succeeds: nightly drill-1-bank bank=drill-1-bank,shop=drill-1-shop", detail)

	var no *failed
	_, err = run("sh", "-c", "echo no orders >&2; exit 3")
	require.ErrorAs(t, err, &no)
	require.Equal(t, "exit status 3: no orders", err.Error())
	detail, err = run("sh", "-c", "sleep 60 & echo fine")
	require.NoError(t, err, "what it leaves running does not make it fail")
	require.Equal(t, "succeeds: fine", detail)
	_, err = run("/does/not/exist")
	require.Error(t, err)
	require.False(t, errors.As(err, &no), "it was not run, so it has not failed: %v", err)

	_, err = run("sh", "-c", `head -c 100000 /dev/zero | tr '\0' x; printf '\033[2J\n'; exit 1`)
	require.ErrorAs(t, err, &no)
	require.Less(t, len(err.Error()), 2*longestText)
	require.NotContains(t, err.Error(), "\033")

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = Command{"sh", "-c", "sleep 60 & wait"}.run(ctx, nil, p)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 20*time.Second, "its children end with it")
}

// TestMustFail wants a test that succeeds in an empty namespace to be told of, and one
// that could not be run not to count as one that fails.
func TestMustFail(t *testing.T) {
	for says, command := range map[string]Command{
		"the test succeeds in an empty namespace": {"true"},
		"the test could not be run":               {"/does/not/exist"},
	} {
		d := &drill{o: Options{Test: command, TestTimeout: time.Minute}, report: Report{Namespaces: map[string]string{"shop": "s"}}}
		_, err := d.mustFail(t.Context())
		require.ErrorContains(t, err, says)
		require.True(t, check.IsFinding(err))
	}
	d := &drill{o: Options{Test: Command{"sh", "-c", "echo $DRILL_NAMESPACE; exit 1"}, TestTimeout: time.Minute}, report: Report{Drill: "x", Namespaces: map[string]string{"shop": "s"}}}
	how, err := d.mustFail(t.Context())
	require.NoError(t, err)
	require.Equal(t, "exit status 1: drill-x", how)
	d.o = Options{Test: Command{"sleep", "60"}, TestTimeout: 100 * time.Millisecond}
	how, err = d.mustFail(t.Context())
	require.NoError(t, err)
	require.Equal(t, "it does not end", how)
	_, err = d.test(t.Context())
	require.ErrorContains(t, err, "did not end in 100ms")
}

// TestUnprovenTest: a test that had no end in the control, and then takes as long to
// succeed, may be one that cannot fail; so may one of which nothing ran there.
func TestUnprovenTest(t *testing.T) {
	d := &drill{o: Options{Test: Command{"sleep", "1"}, TestTimeout: 100 * time.Millisecond}, report: Report{Namespaces: map[string]string{"shop": "s"}}}
	_, err := d.mustFail(t.Context())
	require.NoError(t, err)
	d.o.TestTimeout = time.Minute
	_, err = d.test(t.Context())
	require.ErrorContains(t, err, "whether the test can fail is not proven")
	require.True(t, check.IsFinding(err))
	d.o.Test = Command{"true"}
	*d.endless = time.Minute // a busy machine takes 100 ms for nothing
	_, err = d.test(t.Context())
	require.NoError(t, err, "it would have had the time to succeed there too")

	job, err := ReadJob(strings.NewReader("apiVersion: batch/v1\nkind: Job\nmetadata: {name: orders}\n"))
	require.NoError(t, err)
	d.Cluster = answeringWith(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "failed calling webhook", http.StatusInternalServerError)
	})
	d.o = Options{Test: job, TestTimeout: time.Second}
	how, err := d.mustFail(t.Context())
	require.NoError(t, err)
	require.Contains(t, how, "failed calling webhook")
	d.o.Test = Command{"true"}
	_, err = d.test(t.Context())
	require.ErrorContains(t, err, "whether the test can fail is not proven", "the Job was never made there")
}

func TestReadJob(t *testing.T) {
	job, err := ReadJob(strings.NewReader("apiVersion: batch/v1\nkind: Job\nmetadata: {name: orders}\nspec: {backoffLimit: 0}\n"))
	require.NoError(t, err)
	require.Equal(t, "orders", job.manifest.GetName())
	for _, text := range []string{"kind: Job\napiVersion: v1\nmetadata: {name: a}", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}", "apiVersion: batch/v1\nkind: Job\n"} {
		_, err := ReadJob(strings.NewReader(text))
		require.ErrorContains(t, err, "must be a batch/v1 Job with a name", text)
	}
	_, err = ReadJob(strings.NewReader("no: [yaml"))
	require.Error(t, err)
	_, err = job.run(t.Context(), nil, place{"x", "nightly", map[string]string{"bank": "b", "shop": "s"}})
	require.ErrorContains(t, err, `the Job is for namespace ""`)
}

// TestJobOfTheApplication: a Job that was restored is not taken for the test of its name; the
// test whose making was not answered is.
func TestJobOfTheApplication(t *testing.T) {
	labels, asked := `{"app": "orders"}`, object{}
	c := answeringWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			require.NoError(t, json.NewDecoder(r.Body).Decode(&asked.Object))
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "AlreadyExists", "code": 409}`)
			return
		}
		fmt.Fprintf(w, `{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "orders", "namespace": "drill-x-shop", "labels": %s}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}`, labels)
	})
	job, err := ReadJob(strings.NewReader("apiVersion: batch/v1\nkind: Job\nmetadata: {name: orders, labels: {app: test}}\n"))
	require.NoError(t, err)
	p := place{"x", "nightly", map[string]string{"shop": "drill-x-shop"}}
	_, err = job.run(t.Context(), c, p)
	require.ErrorContains(t, err, "create Job drill-x-shop/orders: it exists and is not of this plugin's making")
	require.False(t, errors.As(err, new(*failed)), "it was not run")
	require.Equal(t, map[string]string{"app": "test", labelDrill: "x"}, asked.GetLabels())

	labels = `{"app": "test", "longshore.dev/drill": "x"}`
	detail, err := job.run(t.Context(), c, p)
	require.NoError(t, err)
	require.Equal(t, "Job orders is Complete", detail)
}

// TestPodsOf: of a Job the pods are told, and of one that has none what its Events say.
func TestPodsOf(t *testing.T) {
	const pods = `{"items": [
		{"metadata": {"name": "other", "ownerReferences": [{"uid": "v", "controller": true}]}, "status": {"phase": "Running"}},
		{"metadata": {"name": "orders-a", "ownerReferences": [{"uid": "u", "controller": true}]}, "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}},
		{"metadata": {"name": "orders-b", "ownerReferences": [{"uid": "u", "controller": true}]}, "status": {"phase": "Pending"}}]}`
	const events = `{"items": [{"message": "pods is forbidden: violates PodSecurity", "involvedObject": {"name": "orders"}}]}`
	c := answering(t, func(r *http.Request) string {
		switch r.URL.Path {
		case "/api/v1/namespaces/shop/pods":
			return pods
		case "/api/v1/namespaces/shop/events":
			return events
		}
		return `{"items": []}`
	})
	job := &object{Object: map[string]any{"metadata": map[string]any{"name": "orders", "namespace": "shop", "uid": "u"}}}
	told := func(wanted string, wantedStarted bool) {
		t.Helper()
		how, started := c.podsOf(t.Context(), job)
		require.Equal(t, wanted, how)
		require.Equal(t, wantedStarted, started)
	}
	told("pod orders-a is Pending (ImagePullBackOff) and 1 more", false)
	job.SetUID("v")
	told("pod other is Running", true)
	job.SetUID("w")
	told("Job orders has not started any pod; of orders it is said: pods is forbidden: violates PodSecurity", false)
	job.SetNamespace("bank")
	told("Job orders has not started any pod", false)
}

func TestJobEnded(t *testing.T) {
	for _, c := range []struct {
		kind, status string
		done, fails  bool
	}{{"Complete", "True", true, false}, {"Complete", "False", false, false}, {"Failed", "True", true, true}, {"Suspended", "True", false, false}} {
		job := &object{Object: map[string]any{"status": map[string]any{"conditions": []any{
			map[string]any{"type": c.kind, "status": c.status, "reason": "BackoffLimitExceeded", "message": "no"},
		}}}}
		done, _, err := ended(job)
		require.Equal(t, c.done, done, fmt.Sprint(c))
		require.Equal(t, c.fails, errors.As(err, new(*failed)), fmt.Sprint(c))
	}
	done, _, err := ended(&object{Object: map[string]any{}})
	require.NoError(t, err)
	require.False(t, done)
}
