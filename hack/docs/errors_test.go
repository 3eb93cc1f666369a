package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore"
)

const operations = "docs/operations.md"

// TestEveryErrorIsExplained wants a row for each kind of error of the object
// store, and no others.
func TestEveryErrorIsExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, row := range cells(t, operations, "What the errors mean") {
		explained[strings.Trim(row[0], "`")] = true
	}
	for _, kind := range kinds(t) {
		if kind != string(objectstore.KindUnknown) { // it is never printed
			require.True(t, explained[kind], "no row for %q", kind)
		}
	}
}

// kinds are the values of the constants of type Kind.
func kinds(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "objectstore", "internal", "s3err", "kind.go"), nil, 0)
	require.NoError(t, err)
	var all []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			require.True(t, ok)
			text, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			all = append(all, text)
		}
		return true
	})
	require.Greater(t, len(all), 20)
	return all
}

// TestErrorsExplainedExist wants each error in the tables to be in the code, so
// that a reader finds what is in the log.
func TestErrorsExplainedExist(t *testing.T) {
	code := source(t, "objectstore", "snapshotter", "internal/pluginserver")
	byVelero := false
	for _, row := range cells(t, operations, "What the errors mean") {
		byVelero = byVelero || row[0] == "Velero says"
		if quoted, found := strings.CutPrefix(row[0], "`"); found && !byVelero {
			for part := range strings.SplitSeq(strings.TrimSuffix(quoted, "`"), "…") {
				require.Contains(t, code, strings.TrimSpace(part), row[0])
			}
		}
	}
	require.True(t, byVelero)
}

// TestLogFieldsExist wants each field in the table to be logged somewhere.
func TestLogFieldsExist(t *testing.T) {
	code := source(t, "objectstore", "snapshotter", "internal/pluginserver", "internal/defaults")
	for _, row := range cells(t, operations, "The log")[1:] {
		for field := range strings.SplitSeq(row[0], ", ") {
			require.Contains(t, code, `"`+strings.Trim(field, "`")+`"`)
		}
	}
}

// source is the text of all Go files, without tests, in some folders.
func source(t *testing.T, folders ...string) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			all.Write(content)
			return err
		}))
	}
	return all.String()
}
