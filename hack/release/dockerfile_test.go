package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
)

var label = regexp.MustCompile(`([a-z.]+)=("[^"]*")`)

// TestDockerfile wants the Dockerfile to make the image that `make image` makes.
func TestDockerfile(t *testing.T) {
	b := inRepository(t)
	b.version, b.revision, b.time = "${VERSION}", "${REVISION}", time.Unix(0, 0).UTC()
	b.out = filepath.Join(b.root, "dist")
	want := b.imageConfig()
	want.Labels["org.opencontainers.image.created"] = "${CREATED}"

	var got v1.Config
	for _, line := range instructions(t, filepath.Join(b.root, "Dockerfile")) {
		instruction, rest, _ := strings.Cut(line, " ")
		switch instruction {
		case "USER":
			got.User = rest
		case "WORKDIR":
			got.WorkingDir = rest
		case "ENTRYPOINT":
			require.NoError(t, json.Unmarshal([]byte(rest), &got.Entrypoint))
		case "LABEL":
			got.Labels = labels(t, rest)
		case "FROM":
			require.Equal(t, "scratch", rest)
		case "COPY":
			source, err := filepath.Rel(b.root, b.rootfs(platform{"linux", "${TARGETARCH}"}))
			require.NoError(t, err)
			require.Equal(t, source+"/ /", rest)
		default:
			require.Equal(t, "ARG", instruction)
		}
	}
	require.Equal(t, want, got)
}

func instructions(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(string(content), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

func labels(t *testing.T, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, found := range label.FindAllStringSubmatch(text, -1) {
		value, err := strconv.Unquote(found[2])
		require.NoError(t, err)
		all[found[1]] = value
	}
	return all
}
