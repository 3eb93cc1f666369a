package settings_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/settings"
)

type example struct {
	Region     string            `key:"region" help:"Region of the bucket."`
	PathStyle  bool              `key:"s3ForcePathStyle" help:"Bucket in the path."`
	Parts      int               `key:"parts" help:"Parts at once."`
	QPS        float64           `key:"kubeQPS" help:"Requests a second."`
	Timeout    time.Duration     `key:"timeout" help:"Longest wait."`
	PartSize   settings.Bytes    `key:"partSize" help:"Size of a part."`
	Key        settings.Secret   `key:"key" help:"Key."`
	Addressing string            `key:"addressing" oneof:"auto,path" help:"Where the bucket stands."`
	Drivers    []string          `key:"drivers" help:"Drivers taken."`
	Classes    map[string]string `key:"class.*" help:"Class for each driver."`
	untagged   int
}

func defaults() example {
	return example{Addressing: "auto", Timeout: time.Minute, PartSize: 16 * settings.MiB, Drivers: []string{"a", "b"}}
}

func (e example) Validate(p *settings.Problems) {
	if e.Parts > 8 {
		p.Add("parts", fmt.Sprint(e.Parts), "at most 8")
	}
}

func TestDecode(t *testing.T) {
	e := defaults()
	e.untagged = 1
	require.NoError(t, settings.Decode(map[string]string{
		"region": "eu", "s3ForcePathStyle": "true", "parts": "3", "kubeQPS": "1.5", "timeout": "5s",
		"partSize": "5MiB", "key": "k", "addressing": "path", "drivers": "x, y",
		"class.csi.x.io": "fast", "class.y": "slow",
	}, &e))
	require.Equal(t, example{
		Region: "eu", PathStyle: true, Parts: 3, QPS: 1.5, Timeout: 5 * time.Second,
		PartSize: 5 * settings.MiB, Key: "k", Addressing: "path", Drivers: []string{"x", "y"},
		Classes: map[string]string{"csi.x.io": "fast", "y": "slow"}, untagged: 1,
	}, e)
}

func TestDecodeKeepsDefaults(t *testing.T) {
	e := defaults()
	require.NoError(t, settings.Decode(nil, &e))
	require.Equal(t, defaults(), e)
}

func TestEmptyValues(t *testing.T) {
	e := defaults()
	e.Region = "eu"
	require.NoError(t, settings.Decode(map[string]string{"addressing": "", "timeout": "", "partSize": "", "s3ForcePathStyle": "", "region": ""}, &e))
	require.Equal(t, defaults(), e, "empty: the default, or an empty text")
}

func TestDecodeReportsEveryProblem(t *testing.T) {
	e := defaults()
	err := settings.Decode(map[string]string{
		"regoin": "eu", "parts": "9", "partSize": "many", "addressing": "dns", "timeout": "5", "completelyOther": "1",
	}, &e)
	require.EqualError(t, err, `config: addressing: "dns" is not accepted; it takes one of "auto", "path"; `+
		`completelyOther: unknown key; known are region, s3ForcePathStyle, parts, kubeQPS, timeout, partSize, key, addressing, drivers, class.*; `+
		`partSize: "many" is not accepted; it takes a size such as 512KiB, 16MiB or 1GiB; `+
		`regoin: unknown key; did you mean region?; `+
		`timeout: "5" is not accepted; it takes a duration such as 30s, 5m or 1h; `+
		`parts: "9" is not accepted; it takes at most 8`)
}

func TestUnknownKeyNamesTheNearest(t *testing.T) {
	for given, near := range map[string]string{
		"Region": "region", "S3forcepathstyle": "s3ForcePathStyle", "clas.csi": "", "class.": "class.*", "driver": "drivers",
	} {
		e := defaults()
		err := settings.Decode(map[string]string{given: "x"}, &e)
		require.Error(t, err)
		if near != "" {
			require.ErrorContains(t, err, "did you mean "+near+"?")
		}
	}
}

func TestWrongTagsPanic(t *testing.T) {
	require.Panics(t, func() {
		_ = settings.Decode(nil, &struct {
			A complex64 `key:"a" help:"x"`
		}{})
	})
	require.Panics(t, func() {
		_ = settings.Decode(nil, &struct {
			A string `key:"a"`
		}{})
	})
	require.Panics(t, func() {
		_ = settings.Decode(nil, &struct {
			A string `key:"a" help:"x"`
			B string `key:"a" help:"x"`
		}{})
	})
}

func TestSecretIsNeverPrinted(t *testing.T) {
	e := defaults()
	e.Key = "hunter2"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.NotContains(t, fmt.Sprintf(verb, e), "hunter2", verb)
		require.NotContains(t, fmt.Sprintf(verb, &e.Key), "68756e74657232", verb)
	}
	encoded, err := json.Marshal(e)
	require.NoError(t, err)
	require.NotContains(t, string(encoded), "hunter2")
	require.Equal(t, "hunter2", e.Key.Reveal())
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]settings.Bytes{
		"0": 0, "512": 512, "7B": 7, "512KiB": 512 * settings.KiB, "16Mi": 16 * settings.MiB, "5TiB": 5 * settings.TiB,
	} {
		got, err := settings.ParseBytes(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
		again, err := settings.ParseBytes(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again, text)
	}
	for _, text := range []string{"", "MiB", "1.5GiB", "-1", "10MB", "1 GiB", "9999999TiB"} {
		_, err := settings.ParseBytes(text)
		require.Error(t, err, text)
	}
}

func TestTable(t *testing.T) {
	table := settings.Table(settings.Rows(defaults()))
	require.Contains(t, table, "| `region` | string |  | Region of the bucket. |\n")
	require.Contains(t, table, "| `addressing` | `auto`, `path` | `auto` | Where the bucket stands. |\n")
	require.Contains(t, table, "| `partSize` | a size such as 512KiB, 16MiB or 1GiB | `16MiB` | Size of a part. |\n")
	require.Contains(t, table, "| `s3ForcePathStyle` | true or false | `false` | Bucket in the path. |\n")
	require.Contains(t, table, "| `drivers` | a list separated by commas | `a,b` | Drivers taken. |\n")
}

// FuzzDecode: what is accepted is one of the keys, and what is refused is named.
func FuzzDecode(f *testing.F) {
	f.Add("region", "eu")
	f.Add("regoin", "eu")
	f.Add("untagged", "1")
	f.Add("partSize", "16MiB")
	f.Add("class.a", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		e := defaults()
		if err := settings.Decode(map[string]string{key: value}, &e); err != nil {
			require.Contains(t, err.Error(), key)
			return
		}
		require.True(t, slices.ContainsFunc(settings.Rows(defaults()), func(r settings.Row) bool {
			start, any := strings.CutSuffix(r.Key, "*")
			return r.Key == key || (any && strings.HasPrefix(key, start))
		}), "%q was accepted", key)
	})
}
