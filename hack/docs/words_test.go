package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/cli"
)

const contributing = "docs/CONTRIBUTING.md"

// TestWords refuses the words on the left of the list in CONTRIBUTING.md, in all
// that a user reads but the messages of errors.
func TestWords(t *testing.T) {
	unwanted := unwantedWords(t)
	for where, text := range prose(t) {
		found := unwanted.FindString(text)
		require.Empty(t, found, "%s: %s has a better word for it", where, contributing)
	}
}

// unwantedWords matches what the first column of the list names.
func unwantedWords(t *testing.T) *regexp.Regexp {
	t.Helper()
	var words []string
	for _, row := range cells(t, contributing, "Words")[1:] {
		for word := range strings.SplitSeq(row[0], ", ") {
			words = append(words, strings.ReplaceAll(regexp.QuoteMeta(word), " ", `\s+`))
		}
	}
	require.Greater(t, len(words), 20)
	return regexp.MustCompile(`(?i)\b(` + strings.Join(words, "|") + `)\b`)
}

// prose is what the pages, the manifests and the commands say, by where.
func prose(t *testing.T) map[string]string {
	t.Helper()
	texts := examples(t)
	for _, p := range pages(t) {
		text, _, _ := strings.Cut(inCode.ReplaceAllString(p.text, ""), "### Words")
		texts[p.path] = text
		for _, b := range p.blocks {
			texts[b.where] = b.text
		}
	}
	values := filepath.Join(root, "docs", "examples", "helm-values.yaml")
	content, err := os.ReadFile(values)
	require.NoError(t, err)
	texts[values] = string(content)
	for _, command := range []string{"help", "check", "check objectstore", "check snapshotter", "verify", "drill", "logs", "describe", "download", "rewrap", "sweep", "install", "print"} {
		texts["help of "+command] = help(t, strings.Fields(command))
	}
	return texts
}

// inCode matches names and messages, which are as the programs have them.
var inCode = regexp.MustCompile("`[^`\n]+`")

func help(t *testing.T, command []string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	require.Zero(t, cli.Run(append(command, "--help"), "test", &stdout, &stderr), stderr.String())
	require.NotEmpty(t, stdout.String())
	return stdout.String()
}
