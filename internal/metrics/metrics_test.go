package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var some = []Gauge{
	{Name: "a_seconds", Help: "The first,\nof \\ two \"lines\".", Samples: []Sample{{Value: 1795000000}, {Labels: []Label{{"l", "x\"y\\z\nw\xff"}, {"m", ""}}, Value: 0.5}}},
	{Name: "b", Help: "Empty."},
}

const text = `# HELP a_seconds The first,\nof \\ two 'lines'.
# TYPE a_seconds gauge
a_seconds 1795000000
a_seconds{l="x\"y\\z\nw` + "\uFFFD" + `",m=""} 0.5
# HELP b Empty.
# TYPE b gauge
# EOF
`

func TestText(t *testing.T) { require.Equal(t, text, string(Text(some))) }

// TestWriteFile: the file is whole or the former one, and nothing else is left.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "verify.prom")
	for range 2 {
		require.NoError(t, WriteFile(path, some))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(written))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o644, info.Mode().Perm(), "the collector is another user")

	require.Error(t, WriteFile(filepath.Join(dir, "none", "x.prom"), some))
	taken := filepath.Join(dir, "folder.prom")
	require.NoError(t, os.MkdirAll(filepath.Join(taken, "full"), 0o700))
	require.Error(t, WriteFile(taken, some))
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTarget(t *testing.T) {
	group := []Label{{"bucket", "b/ü"}, {"prefix", ""}}
	for address, want := range map[string]string{
		"http://gateway:9091":                      "http://gateway:9091/metrics/job/j/bucket@base64/Yi_DvA/prefix@base64/=",
		"https://gateway/push/":                    "https://gateway/push/metrics/job/j/bucket@base64/Yi_DvA/prefix@base64/=",
		"https://u:p@gateway/metrics/job/own":      "https://u:p@gateway/metrics/job/own",
		"https://gateway/x/metrics/job@base64/eA=": "https://gateway/x/metrics/job@base64/eA=",
	} {
		target, err := ParseTarget(address, "j", group...)
		require.NoError(t, err, address)
		require.Equal(t, want, target.url.String())
	}
	for _, address := range []string{"", "gateway:9091", "ftp://gateway", "http://", "http://g?x=y", "http://g\x7f"} {
		_, err := ParseTarget(address, "j")
		require.ErrorContains(t, err, "is of the form https://HOST:PORT", address)
	}
}

// TestPush has servers that are no Pushgateway, or not yet.
func TestPush(t *testing.T) {
	for name, c := range map[string]struct {
		answers []int // one after the other, the last for good
		body    string
		says    string
		asked   int
	}{
		"good":          {answers: []int{200}, asked: 1},
		"accepted":      {answers: []int{202}, asked: 1},
		"later":         {answers: []int{503, 200}, asked: 2},
		"never":         {answers: []int{503}, body: "no", says: `it answered 503 Service Unavailable: "no"`, asked: 3},
		"refused":       {answers: []int{400}, body: "text format parsing error", says: "parsing error", asked: 1},
		"redirect":      {answers: []int{301}, says: "it redirects (301 Moved Permanently)", asked: 1},
		"not a gateway": {answers: []int{200}, body: "<html>Welcome\x1b[2J</html>", says: `it is no Pushgateway: it answered 200 OK with a text, "<html>Welcome\x1b[2J</html>"`, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked, got := 0, ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				all, _ := io.ReadAll(r.Body)
				user, password, _ := r.BasicAuth()
				got = strings.Join([]string{r.Method, r.URL.EscapedPath(), user, password, string(all)}, " ")
				status := c.answers[min(asked, len(c.answers)-1)]
				asked++
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			target, err := ParseTarget(strings.Replace(server.URL, "://", "://user:secret@", 1), "j")
			require.NoError(t, err)
			err = target.Push(t.Context(), some)
			require.Equal(t, "PUT /metrics/job/j user secret "+text, got)
			require.Equal(t, c.asked, asked)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "push metrics to "+server.URL+": ")
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "secret")
		})
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	target, err := ParseTarget(strings.Replace(closed.URL, "://", "://user:secret@", 1), "j")
	require.NoError(t, err)
	err = target.Push(t.Context(), some)
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "secret")
}
