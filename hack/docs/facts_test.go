package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

var defaultTime = regexp.MustCompile("^`(\\w+)`, (\\d+) (second|minute)s?")

// TestTimeouts compares the times in the tables with the defaults of the
// settings that they name.
func TestTimeouts(t *testing.T) {
	defaults := durations(objectstore.Default())
	for key, value := range durations(snapshotter.DefaultSettings()) {
		defaults[key] = value
	}
	seen := 0
	for _, row := range cells(t, operations, "Timeouts and retries") {
		if match := defaultTime.FindStringSubmatch(row[1]); match != nil {
			told, err := time.ParseDuration(match[2] + match[3][:1])
			require.NoError(t, err)
			require.Equal(t, defaults[match[1]], told, match[1])
			seen++
		}
	}
	require.Equal(t, 7, seen)
}

// durations are the settings that are times, by their keys.
func durations(settings any) map[string]time.Duration {
	found := map[string]time.Duration{}
	value := reflect.ValueOf(settings)
	for _, field := range reflect.VisibleFields(value.Type()) {
		if d, ok := value.FieldByIndex(field.Index).Interface().(time.Duration); ok {
			found[field.Tag.Get("key")] = d
		}
	}
	return found
}

var places = map[snapshotter.Where]string{
	snapshotter.Everywhere: "", snapshotter.InStaging: "the staging namespace", snapshotter.InVelero: "Velero's namespace",
	snapshotter.InDefault: "the namespace default",
}

// TestRightsAreExplained wants a row for each right of the snapshotter.
func TestRightsAreExplained(t *testing.T) {
	rows := cells(t, operations, "Rights in the cluster")[1:]
	for _, r := range (snapshotter.Settings{SigningKeySecret: "longshore-signing/keys"}).Rights() {
		resource := strings.TrimSuffix(r.Resource+"/"+r.Subresource, "/")
		verbs := ": " + strings.Join(r.Verbs, ", ")
		found := false
		for _, row := range rows {
			what, granted, _ := strings.Cut(row[0], ":")
			resources, place, _ := strings.Cut(what, " in ")
			named := strings.Contains(", "+resources+",", ", "+resource+",")
			found = found || named && place == places[r.Namespace] && ":"+granted == verbs
		}
		require.True(t, found, "no row for %s%s in %q", resource, verbs, places[r.Namespace])
	}
}

var sizeAndPart = regexp.MustCompile(`^([\d.]+) (GiB|TiB)$`)

var stretch = regexp.MustCompile(`\{(\d+|MaxParts), (?:(\d+) \* settings\.MiB|standardPart)\}`)

// TestPartSizes compares the table with the stretches of parts in the code, and
// adds them up.
func TestPartSizes(t *testing.T) {
	rows := cells(t, operations, "Memory and sizes")[1:]
	stretches := stretch.FindAllStringSubmatch(source(t, "objectstore"), -1)
	require.Len(t, rows, len(stretches))
	total, parts := 0.0, 0
	for i, row := range rows {
		last, size := number(stretches[i][1], 10000), number(stretches[i][2], 16)
		require.Equal(t, fmt.Sprint(size, " MiB"), row[1])
		total += float64(last-parts) * float64(size) / 1024
		parts = last
		match := sizeAndPart.FindStringSubmatch(row[0])
		require.NotNil(t, match, row[0])
		told, err := strconv.ParseFloat(match[1], 64)
		require.NoError(t, err)
		if match[2] == "TiB" {
			told *= 1024
		}
		require.InEpsilon(t, total, told, 0.01, row[0])
	}
}

// number reads a number, or gives the one that a name stands for.
func number(text string, named int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return named
}

// TestAddress wants the releases to name the same address as the commands.
func TestAddress(t *testing.T) {
	require.Contains(t, source(t, "hack/release"), `"`+docs.Address+`"`)
}
