package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestMetrics: a run over a good and a damaged backup tells Prometheus, by a real
// Pushgateway and by a file, which promtool accepts and Prometheus reads as OpenMetrics.
func TestMetrics(t *testing.T) {
	testbed.RequirePart(t, testbed.Prometheus)
	testbed.RequirePart(t, testbed.Pushgateway)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	t.Setenv("XDG_CACHE_HOME", cache) // where the parts are: newStorage changes HOME
	s := newStorage(t, testbed.S3Options{})
	bed := testbed.ForTest(t)
	_, gateway, err := bed.StartPushgateway(t.Context())
	require.NoError(t, err)
	const older, newer = "nightly-20261126010000", "nightly-20261127010000"
	s.store("velero", backuptest.New(older).Objects(t))
	damaged := backuptest.New(newer).Objects(t)
	damaged["backups/"+newer+"/"+newer+".tar.gz"] = []byte("<html>")
	s.store("velero", damaged)

	file := filepath.Join(t.TempDir(), "verify.prom")
	s.verify(exitFailed, "velero", "--all", "--metrics", file, "--push", gateway)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, line := range []string{
		`longshore_verify_ok{bucket="` + bucket + `",prefix="velero"} 0`,
		`longshore_verify_backups{bucket="` + bucket + `",prefix="velero",schedule="nightly"} 2`,
		`longshore_verify_failed_backups{bucket="` + bucket + `",prefix="velero",schedule="nightly"} 1`,
		fmt.Sprintf(`longshore_verify_good_backup_timestamp_seconds{bucket="%s",prefix="velero",schedule="nightly"} %d`, bucket, backuptest.Started.Unix()),
		`longshore_verify_checks{bucket="` + bucket + `",prefix="velero",check="archive",outcome="failed"} 1`,
		`longshore_verify_checks{bucket="` + bucket + `",prefix="velero",check="archive",outcome="ok"} 1`,
	} {
		require.Contains(t, string(text), line+"\n")
	}
	said, err := testbed.Promtool(t.Context(), string(text), "check", "metrics")
	require.NoError(t, err)
	require.Empty(t, said, "promtool has nothing to say about it")

	s.verify(exitOK, "velero", older, "--push", gateway+"/metrics/job/one")
	openMetrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		_, _ = w.Write(text)
	}))
	t.Cleanup(openMetrics.Close)
	prometheus := startPrometheus(t, bed, gateway, openMetrics.URL)
	for query, want := range map[string]string{
		`longshore_verify_failed_backups{job="longshore_verify",bucket="` + bucket + `",prefix="velero",schedule="nightly"}`: "1",
		`longshore_verify_ok{job="longshore_verify"}`:                                                               "0",
		`longshore_verify_ok{job="one"}`:                                                                            "1",
		`longshore_verify_failed_backups{job="file",schedule="nightly"}`:                                            "1",
		`longshore_verify_checks{job="file",check="archive",outcome="failed"}`:                                      "1",
		`count(longshore_verify_checks{job="file"}) == bool count(longshore_verify_checks{job="longshore_verify"})`: "1",
	} {
		require.Eventually(t, func() bool { return ask(t, prometheus, query) == want }, time.Minute, 200*time.Millisecond, "%s is %s", query, ask(t, prometheus, query))
	}

	_, said = s.read(exitUsage, "velero", "verify", "--all", "--metrics", filepath.Join(t.TempDir(), "none", "x.prom"))
	require.Contains(t, said, "its folder is not there")
	_, said = s.read(exitUsage, "velero", "verify", "--all", "--push", "gateway:9091")
	require.Contains(t, said, "--push: the address of a Pushgateway is of the form")
	out, said := s.read(exitFailed, "velero", "verify", older, "--push", strings.Replace(openMetrics.URL, "://", "://u:hidden@", 1))
	require.Contains(t, out, "All that was read is whole.")
	require.Contains(t, said, "it is no Pushgateway")
	require.NotContains(t, said, "hidden")
}

func startPrometheus(t *testing.T, bed *testbed.Bed, gateway, file string) string {
	t.Helper()
	target := func(address string) string { return strings.TrimPrefix(address, "http://") }
	_, address, err := bed.StartPrometheus(t.Context(), fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs:
- {job_name: gateway, honor_labels: true, static_configs: [{targets: ["%s"]}]}
- {job_name: file, static_configs: [{targets: ["%s"]}]}
`, target(gateway), target(file)), "")
	require.NoError(t, err)
	return address
}

// ask asks Prometheus and returns the one value, "" if there is not exactly one.
func ask(t *testing.T, prometheus, query string) string {
	t.Helper()
	resp, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Value []any }
		}
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil || len(answer.Data.Result) != 1 {
		return ""
	}
	return answer.Data.Result[0].Value[1].(string)
}
