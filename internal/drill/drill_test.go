package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

func TestScratchNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	names := scratchNames("abcd2345", []string{"shop", "b", long, long[:62] + "b"})
	require.Equal(t, "drill-abcd2345-shop", names["shop"])
	seen := map[string]bool{}
	for _, scratch := range names {
		require.LessOrEqual(t, len(scratch), longestName)
		require.Regexp(t, `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, scratch)
		require.False(t, seen[scratch], scratch)
		require.NotEqual(t, controlName("abcd2345"), scratch)
		seen[scratch] = true
	}
	require.Len(t, seen, 4)
}

func TestDrillOf(t *testing.T) {
	for name, ours := range map[string]bool{
		"longshore-drill-abcd2345": true, "drill-abcd2345": true, "drill-abcd2345-shop": true,
		"drill-abcd2345x": false, "drill-abcd2345x-shop": false, "drill-other": false, "shop": false, "longshore-drill-abcd": false,
	} {
		o := &object{Object: map[string]any{}}
		o.SetName(name)
		o.SetLabels(map[string]string{labelDrill: "abcd2345"})
		require.Equal(t, ours, drillOf(o) == "abcd2345", name)
	}
	for id, name := range map[string]string{"": "drill-", "a": "drill-a-shop"} {
		foreign := &object{Object: map[string]any{}}
		foreign.SetName(name)
		foreign.SetLabels(map[string]string{labelDrill: id})
		require.Empty(t, drillOf(foreign), "%q is no ID of a drill", id)
	}
}

func TestValidateClusterResource(t *testing.T) {
	require.NoError(t, ValidateClusterResource("clusterroles.rbac.authorization.k8s.io"))
	for _, resource := range []string{"", "nodes", "persistentvolumes", "validatingwebhookconfigurations.admissionregistration.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"} {
		require.ErrorContains(t, ValidateClusterResource(resource), "is no kind of the cluster that a drill restores", resource)
	}
	d := &drill{plan: *planned(t, nil, "clusterroles.rbac.authorization.k8s.io", reader, "configmaps", other), o: Options{ClusterResources: []string{"clusterroles.rbac.authorization.k8s.io"}}}
	require.NoError(t, d.wantedOfCluster())
	d.plan.kinds["clusterroles.rbac.authorization.k8s.io"] = "rbac.authorization.k8s.io/v1beta1"
	require.ErrorContains(t, d.wantedOfCluster(), "restores v1 only")
	d.o.ClusterResources = []string{"clusterroles"}
	require.ErrorContains(t, d.wantedOfCluster(), "the backup has nothing of the cluster's kind clusterroles")
}

func TestTooOld(t *testing.T) {
	for _, c := range []struct {
		age, limit time.Duration
		says       string
		fails      bool
	}{
		{time.Hour, 0, "1h0m0s, and no limit is set", false},
		{time.Hour, 2 * time.Hour, "1h0m0s, of at most 2h0m0s", false},
		{3 * time.Hour, 2 * time.Hour, "3h0m0s old, and 2h0m0s is the limit", true},
		{-time.Hour, 2 * time.Hour, "1h0m0s from now", true},
		{-time.Second, time.Hour, "-1s, of at most 1h0m0s", false},
	} {
		detail, err := tooOld(c.age, c.limit)
		require.Equal(t, c.fails, err != nil, c.says)
		require.Contains(t, detail+fmt.Sprint(err), c.says)
	}
}

func TestVerdict(t *testing.T) {
	verdict, reason := verdictOf([]check.Result{{Step: "claims"}, {Step: "markers", Outcome: check.Warning}}, 12400*time.Millisecond)
	require.Equal(t, "passed, restored in 12s", verdict)
	require.Equal(t, "DrillPassed", reason)
	failed := []check.Result{{Step: "age", Outcome: check.Failed}, {Step: "claims"}, {Step: "test", Outcome: check.Failed}}
	verdict, reason = verdictOf(failed, time.Second)
	require.Equal(t, "failed: age, test", verdict)
	require.Equal(t, "DrillFailed", reason)
	require.False(t, (&Report{Recovery: time.Second, Results: failed}).Passed())
	require.False(t, (&Report{}).Passed(), "a drill that restored nothing has not passed")
	require.True(t, (&Report{Recovery: time.Second}).Passed())
}

// written is a storage with one object.
type written struct {
	backups.Store
	key     string
	content []byte
}

func (w written) GetObject(_ context.Context, _, key string) (io.ReadCloser, error) {
	if key != w.key {
		return nil, errors.New("not there")
	}
	return io.NopCloser(bytes.NewReader(w.content)), nil
}

// TestRestoreEnded names the warnings of a Restore, the first few and cleaned, since they
// go with it.
func TestRestoreEnded(t *testing.T) {
	const results = `{"warnings": {"velero": ["a\u001b[2J\nb"], "cluster": ["c"], "namespaces": {"shop": ["d", "e", "f", "g", "h", "i"]}}}`
	const key = "p/restores/longshore-drill-x/restore-longshore-drill-x-results.gz"
	for says, c := range map[string]struct {
		warnings int64
		key      string
	}{
		"Completed": {0, ""},
		"Completed, with 8 warnings: a [2J b, c, d, e, f, g and 2 more": {8, key},
		"Completed, with 1 warning: which cannot be read: not there":    {1, ""},
	} {
		d := &drill{l: backups.At(written{key: c.key, content: backuptest.Gzip(t, []byte(results))}, "bucket", "p")}
		r := &object{Object: map[string]any{"status": map[string]any{"phase": "Completed", "warnings": c.warnings}}}
		r.SetName("longshore-drill-x")
		detail, err := d.restoreEnded(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, says, detail)
	}
}

func TestParseMarker(t *testing.T) {
	for text, want := range map[string]Marker{
		"configmaps/settings":       {"", "configmaps", "settings"},
		"shop/deployments.apps/web": {"shop", "deployments.apps", "web"},
	} {
		got, err := ParseMarker(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "settings", "/settings", "configmaps/", "a/b/c/d", "shop//web"} {
		_, err := ParseMarker(text)
		require.ErrorContains(t, err, "[NAMESPACE/]RESOURCE/NAME", text)
	}
}

func TestBetterMarker(t *testing.T) {
	marker := func(resource, name string) Marker { return Marker{"shop", resource, name} }
	var now Marker
	for _, step := range []struct{ other, want Marker }{
		{marker("pods", "p"), Marker{}},
		{marker("configmaps", "kube-root-ca.crt"), Marker{}},
		{marker("configmaps", "istio-ca-root-cert"), Marker{}},
		{marker("services", "web"), marker("services", "web")},
		{marker("configmaps", "settings"), marker("configmaps", "settings")},
		{marker("configmaps", "other"), marker("configmaps", "settings")},
		{marker("deployments.apps", "web"), marker("configmaps", "settings")},
		{marker("persistentvolumeclaims", "data"), marker("persistentvolumeclaims", "data")},
	} {
		now = better(now, step.other)
		require.Equal(t, step.want, now)
	}
}

// TestChoose: where the user names a marker of a namespace, none is chosen besides.
func TestChoose(t *testing.T) {
	items := []string{"configmaps", istio, "configmaps", settings}
	named, made := Marker{"shop", "configmaps", "settings"}, Marker{"", "configmaps", "later"}
	for name, c := range map[string]struct {
		items  []string
		expect []Marker
	}{
		"none named":          {items, nil},
		"named":               {items, []Marker{named}},
		"named, not the best": {append(items, "persistentvolumeclaims", data), []Marker{{"", "configmaps", "settings"}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &drill{plan: *planned(t, nil, c.items...), o: Options{Expect: c.expect, ExpectNot: []Marker{made}}}
			there, missing, err := d.choose()
			require.NoError(t, err)
			require.Equal(t, []Marker{named}, there)
			require.Len(t, missing, 2, "and one that nobody has made")
		})
	}
}

// item is one of an archive.
func item(t *testing.T, text string) *backups.Item {
	t.Helper()
	var i backups.Item
	require.NoError(t, json.Unmarshal([]byte(text), &i))
	return &i
}

func TestOutside(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind": "Service", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"type": "ClusterIP"}}`:                                           "",
		`{"kind": "Service", "metadata": {"namespace": "shop", "name": "db"}, "spec": {"type": "ExternalName", "externalName": "db.example.com"}}`:       "Service shop/db leads to db.example.com",
		`{"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}}`:                                                             "Service web asks for a load balancer",
		`{"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "loadBalancerIP": "192.0.2.1"}}`:                              "Service web asks for a load balancer with the address 192.0.2.1",
		`{"kind": "Service", "metadata": {"name": "web", "annotations": {"metallb.io/loadBalancerIPs": "192.0.2.2"}}, "spec": {"type": "LoadBalancer"}}`: "with metallb.io/loadBalancerIPs=192.0.2.2",
		`{"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "ClusterIP", "externalIPs": ["192.0.2.3"]}}`:                                  "takes the addresses 192.0.2.3",
		`{"kind": "Service", "metadata": {"name": "web", "annotations": {"external-dns.alpha.kubernetes.io/hostname": "shop.example.com"}}, "spec": {}}`: "asks for the DNS name shop.example.com",
		`{"kind": "Ingress", "metadata": {"name": "web"}, "spec": {"rules": [{"host": "shop.example.com"}]}}`:                                            "answers for shop.example.com",
		`{"kind": "Ingress", "metadata": {"name": "web"}, "spec": {"rules": [{}]}}`:                                                                      "",
		`{"kind": "HTTPRoute", "metadata": {"name": "web"}, "spec": {"hostnames": ["shop.example.com"]}}`:                                                "answers for shop.example.com",
		`{"kind": "Route", "metadata": {"name": "web"}, "spec": {"host": "shop.example.com"}}`:                                                           "answers for shop.example.com",
		`{"kind": "CronJob", "metadata": {"name": "mail"}, "spec": {"schedule": "* * * * *"}}`:                                                           "CronJob mail runs at * * * * *",
		`{"kind": "CronJob", "metadata": {"name": "mail"}, "spec": {"schedule": "* * * * *", "suspend": true}}`:                                          "",
		`{"kind": "ConfigMap", "metadata": {"name": "settings"}}`:                                                                                        "",
		`{"kind": "Service", "metadata": {"name": "odd"}, "spec": "text"}`:                                                                               "",
	} {
		got := strings.Join(outside(item(t, text)), "; ")
		if want == "" {
			require.Empty(t, got, text)
			continue
		}
		require.Contains(t, got, want, text)
	}
}

// planned is the plan of an archive with these items, as resource and text.
func planned(t *testing.T, excluded []string, items ...string) *plan {
	t.Helper()
	p := newPlan()
	for i := 0; i < len(items); i += 2 {
		one := item(t, items[i+1])
		p.note(one, backups.Place{Resource: items[i], Namespace: one.Metadata.Namespace, Name: one.Metadata.Name}, func(name string) bool { return name == "shop" }, excluded)
	}
	return p
}

const (
	shop   = `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"pod-security.kubernetes.io/enforce": "baseline", "argocd.argoproj.io/instance": "shop"}}}`
	data   = `{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": "data"}, "spec": {"volumeName": "pv"}}`
	waits  = `{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": "waits"}, "spec": {}}`
	kept   = `{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": {"persistentVolumeReclaimPolicy": "Retain"}}`
	gone   = `{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}`
	reader = `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}}`
	other  = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "other", "name": "c"}}`
	mail   = `{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": "shop", "name": "mail"}, "spec": {"schedule": "@daily"}}`

	settings = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "settings"}}`
	istio    = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "istio-ca-root-cert"}}`
)

func TestPlan(t *testing.T) {
	p := planned(t, nil, "namespaces", shop, "persistentvolumeclaims", data, "persistentvolumeclaims", waits, "persistentvolumes", gone,
		"clusterroles.rbac.authorization.k8s.io", reader, "configmaps", other, "cronjobs.batch", mail)
	require.Equal(t, []string{"shop"}, p.names())
	require.Equal(t, map[string]string{"data": "pv"}, p.namespaces["shop"].claims, "a claim that was not bound is not waited for")
	require.Equal(t, map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}, p.namespaces["shop"].labels)
	require.Equal(t, "shop/persistentvolumeclaims/data", p.namespaces["shop"].marker.String())
	require.Equal(t, "batch/v1", p.kinds["cronjobs.batch"])
	require.Len(t, p.reaches, 1)
	require.Equal(t, "1 namespace with 1 claim; left out: namespaces other; left out, since they are of the cluster: clusterroles.rbac.authorization.k8s.io", p.outline(nil))

	d := &drill{name: "nightly", plan: *p, o: Options{ExcludeResources: []string{"cronjobs.batch"}}, report: Report{Namespaces: map[string]string{"shop": "drill-x-shop"}}}
	spec := d.restoreSpec()
	require.Equal(t, []any{"shop"}, spec["includedNamespaces"])
	require.Equal(t, map[string]any{"shop": "drill-x-shop"}, spec["namespaceMapping"])
	require.Equal(t, []any{"cronjobs.batch", "clusterroles.rbac.authorization.k8s.io"}, spec["excludedResources"])
	require.Empty(t, planned(t, []string{"cronjobs.batch"}, "cronjobs.batch", mail).reaches)
}

// TestUnsaved wants a drill to touch no original volume, and to tell which claims come back
// empty, also of those whose volumes Velero tried to save.
func TestUnsaved(t *testing.T) {
	native, csi := []backups.Volume{{Name: "pv", Method: backups.MethodNative}}, []backups.Volume{{Name: "pv", Method: backups.MethodCSI}}
	byFiles := []backups.Volume{{Name: "pv", Method: backups.MethodPodVolume, Result: "succeeded"}}
	failed := []backups.Volume{{Name: "pv", Method: backups.MethodPodVolume, Result: "failed"}}
	const emptyOf, original = "these claims come back empty: shop/data (", "the original volumes, not copies: shop/data"
	for name, c := range map[string]struct {
		pv         string
		volumes    []backups.Volume
		withoutCSI bool
		noPods     bool
		unlisted   bool
		says       string // "" for nothing
		fails      bool
	}{
		"saved, kept":             {pv: kept, volumes: native},
		"saved, deleted":          {pv: gone, volumes: native},
		"its snapshot not listed": {pv: gone, volumes: native, unlisted: true, says: original, fails: true},
		"unsaved, kept":           {pv: kept, volumes: []backups.Volume{{Name: "pv", Skipped: true}}, says: original, fails: true},
		"unknown, kept":           {pv: kept, says: original, fails: true},
		"unsaved, goes":           {pv: gone, volumes: []backups.Volume{{Name: "pv", Skipped: true}}, says: emptyOf + "its volume was not saved)"},
		"volume left out":         {says: original, fails: true},
		"by files":                {pv: kept, volumes: byFiles},
		"by files, pods left out": {pv: kept, volumes: byFiles, noPods: true, says: emptyOf + "its volume was saved file by file, which a pod restores)"},
		"by files, which failed":  {pv: kept, volumes: failed, says: emptyOf + "its files could not be saved)"},
		"by CSI":                  {pv: kept, volumes: csi},
		"by CSI, without it now":  {pv: kept, volumes: csi, withoutCSI: true, says: emptyOf + "EnableCSI saved it, and Velero's server runs without it)", fails: true},
		"without CSI as before":   {pv: kept, volumes: native, withoutCSI: true},
	} {
		t.Run(name, func(t *testing.T) {
			items := []string{"persistentvolumeclaims", data}
			if c.pv != "" {
				items = append(items, "persistentvolumes", c.pv)
			}
			d := &drill{plan: *planned(t, nil, items...)}
			d.plan.withoutCSI, d.plan.snapshots["pv"] = c.withoutCSI, !c.unlisted
			if c.noPods {
				d.o.ExcludeResources = []string{"pods"}
			}
			run := check.NewRun(check.Silent{})
			require.Equal(t, !c.fails, run.Step(t.Context(), "archive", func(context.Context) (string, error) { return d.assess(c.volumes) }))
			switch {
			case c.says != "":
				require.Contains(t, run.Results[0].Detail, c.says)
				require.NotEqual(t, check.OK, run.Results[0].Outcome)
			default:
				require.Equal(t, "1 namespace with 1 claim", run.Results[0].Detail)
				require.Equal(t, check.OK, run.Results[0].Outcome)
			}
		})
	}
	empty := &drill{plan: *newPlan()}
	_, err := empty.assess(nil)
	require.ErrorContains(t, err, "nothing of the backup")
	named := &drill{plan: *planned(t, nil, "configmaps", other), o: Options{Namespaces: []string{"shop"}}}
	_, err = named.assess(nil)
	require.ErrorContains(t, err, "the backup has no namespace shop, only other")
}

// TestAskForCSI: only of a backup with snapshots of Velero's own it matters whether its
// server restores from them, and where that is not known a person is told.
func TestAskForCSI(t *testing.T) {
	csi := []backups.Volume{{Name: "pv", Method: backups.MethodCSI}}
	for name, c := range map[string]struct {
		answer  string // "" for none
		volumes []backups.Volume
		outcome check.Outcome
		says    string
	}{
		"with it":    {`["server", "--features=Other,EnableCSI"]`, csi, check.OK, "1 namespace with 1 claim"},
		"without it": {`["server", "--features=Other"]`, csi, check.Failed, "EnableCSI saved it, and Velero's server runs without it"},
		"not known":  {"", csi, check.Warning, "claims come back empty if Velero's server runs without EnableCSI, which is not known: "},
		"not needed": {"", []backups.Volume{{Name: "pv", Method: backups.MethodNative}}, check.OK, "1 namespace with 1 claim"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &drill{plan: *planned(t, nil, "persistentvolumeclaims", data, "persistentvolumes", kept)}
			d.plan.snapshots["pv"] = true
			d.Cluster = answeringWith(t, func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "/apis/apps/v1/namespaces/velero/deployments/velero", r.URL.Path)
				if c.answer == "" {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				fmt.Fprintf(w, `{"spec": {"template": {"spec": {"containers": [{"args": %s}]}}}}`, c.answer)
			})
			d.askForCSI(t.Context(), c.volumes)
			run := check.NewRun(check.Silent{})
			run.Step(t.Context(), "archive", func(context.Context) (string, error) { return d.assess(c.volumes) })
			require.Equal(t, c.outcome, run.Results[0].Outcome, "%+v", run.Results[0])
			require.Contains(t, run.Results[0].Detail, c.says)
		})
	}
}
