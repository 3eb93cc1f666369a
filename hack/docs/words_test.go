package main

import (
	"bytes"
	"go/scanner"
	"go/token"
	"io/fs"
	"maps"
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
// that a user reads, and in the comments and the messages of the code.
func TestWords(t *testing.T) {
	unwanted := unwantedWords(t)
	texts := prose(t)
	maps.Copy(texts, code(t))
	for where, text := range texts {
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

// code is the comments and the strings of all Go files but tests, by file.
func code(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		texts[path], err = spoken(path)
		return err
	}))
	require.Greater(t, len(texts), 200)
	return texts
}

// spoken are the comments and the strings of a file.
func spoken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile(path, -1, len(content)), content, nil, scanner.ScanComments)
	var text strings.Builder
	for {
		switch _, kind, literal := s.Scan(); kind {
		case token.EOF:
			return text.String(), nil
		case token.COMMENT, token.STRING:
			text.WriteString(literal + "\n")
		}
	}
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
