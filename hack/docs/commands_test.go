package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/cli"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// command is one line of a block of commands, in words.
type command struct {
	where string
	words []string
}

// commands are all command lines of the documents.
func commands(t *testing.T) []command {
	t.Helper()
	var all []command
	for _, b := range blocksOf(t, "sh") {
		text := strings.ReplaceAll(b.text, "\\\n", " ")
		for line := range strings.Lines(text) {
			all = append(all, piped(t, b.where, line)...)
		}
	}
	for _, p := range pages(t) {
		for _, match := range inRunningText.FindAllStringSubmatch(p.text, -1) {
			all = append(all, piped(t, p.path, match[1])...)
		}
	}
	return all
}

// inRunningText finds the commands that stand within a sentence.
var inRunningText = regexp.MustCompile("`((?:bin/)?velero(?:-plugin-longshore)? [^`]+)`")

// piped are the commands of a line, each of which reads what the one before writes. The
// last may write into a file.
func piped(t *testing.T, where, line string) (all []command) {
	t.Helper()
	line, _, _ = strings.Cut(line, " > ")
	for part := range strings.SplitSeq(line, " | ") {
		if words := splitWords(t, where, part); len(words) > 0 {
			all = append(all, command{where, words})
		}
	}
	return all
}

// splitWords splits a line as a shell does, as far as the documents need it:
// quotes, comments, and an assignment in front.
func splitWords(t *testing.T, where, line string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	var quote rune
	started := false
	end := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	for _, c := range strings.TrimSpace(line) {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, started = c, true
		case c == ' ':
			end()
		case c == '#' && !started:
			return words
		default:
			require.NotContains(t, "|;&<>$`(", string(c), "%s: more of a shell than the test knows: %s", where, line)
			word.WriteRune(c)
			started = true
		}
	}
	require.Zero(t, quote, "%s: a quote that does not end: %s", where, line)
	end()
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}
	return words
}

var assignment = regexp.MustCompile(`^[A-Z_]+=`)

// TestCommands parses every command with the program that it is for.
func TestCommands(t *testing.T) {
	for _, c := range commands(t) {
		switch program := filepath.Base(c.words[0]); program {
		case "velero-plugin-longshore":
			requireOurs(t, c)
		case "make":
			requireTarget(t, c.where, c.words[1])
		case "kubectl":
			requireKubectl(t, c)
		case "helm":
			requireFile(t, c, "--values")
			requireChart(t, c)
		case "kubeseal":
			requireFile(t, c, "--secret-file")
		case "go":
			requireGo(t, c)
		case "velero": // TestVeleroCommands
		default:
			require.Contains(t, []string{"mc", "base64", "age", "age-keygen", "git", "kind", "oc", "deploy.sh"}, program, "%s: nothing checks this program", c.where)
			if program == "mc" && slices.Contains(c.words, "policy") && slices.Contains(c.words, "create") {
				require.FileExists(t, filepath.Join(root, c.words[len(c.words)-1]), c.where)
			}
		}
	}
}

// requireOurs parses the flags with the plugin's own command line. With --help
// behind them it does nothing more.
func requireOurs(t *testing.T, c command) {
	t.Helper()
	args := c.words[1:]
	if i := slices.Index(args, "--"); i >= 0 { // behind it is the command of a test
		args = args[:i]
	}
	if len(args) > 0 && slices.Contains([]string{"check", "sweep", "verify", "drill", "logs", "describe", "download", "rewrap"}, args[0]) {
		args = append(slices.Clone(args), "--help")
	}
	var stdout, stderr bytes.Buffer
	require.Zero(t, cli.Run(args, "test", &stdout, &stderr), "%s: %v: %s", c.where, c.words, stderr.String())
}

// requireGo wants the packages that go runs to be here, and with them the test
// that -run names.
func requireGo(t *testing.T, c command) {
	t.Helper()
	folder, words := root, c.words[1:]
	if words[0] == "-C" {
		folder, words = filepath.Join(root, words[1]), words[2:]
		require.FileExists(t, filepath.Join(folder, "go.mod"), c.where)
	}
	folder = filepath.Join(folder, words[len(words)-1])
	require.DirExists(t, folder, c.where)
	if i := slices.Index(words, "-run"); i >= 0 {
		name, err := filepath.Rel(root, folder)
		require.NoError(t, err)
		require.Contains(t, tests(t, name), "func "+words[i+1]+"(", c.where)
	}
}

// tests is the text of a folder's tests.
func tests(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(content)
	}
	return all.String()
}

// requireKubectl knows what the documents ask of kubectl.
func requireKubectl(t *testing.T, c command) {
	t.Helper()
	words := c.words[1:]
	if words[0] == "-n" {
		words = words[2:]
	}
	switch words[0] {
	case "apply", "delete":
		requireFile(t, c, "-f")
	case "create":
		require.Equal(t, []string{"create", "namespace"}, words[:2], c.where)
	case "set": // kubectl set image deployment/velero CONTAINER=IMAGE
		require.Equal(t, []string{"set", "image", "deployment/velero"}, words[:3], c.where)
		require.Equal(t, "longshore-velero-plugin=REGISTRY/longshore/velero-plugin:new", words[3], "the init container that Velero makes of the image: %s", c.where)
	case "annotate": // a ConfigMap of the journal
		require.Equal(t, []string{"configmap", "longshore-journal-UID", "--overwrite"}, words[1:4], c.where)
		source, err := os.ReadFile(filepath.Join(root, "snapshotter", "internal", "journal", "journal.go"))
		require.NoError(t, err)
		for _, word := range words[4:] {
			key, _, _ := strings.Cut(word, "=")
			require.Contains(t, string(source), strconv.Quote(key), c.where)
		}
	case "patch": // TestObjects
		require.Len(t, words, 7, c.where)
	case "exec":
		program := slices.Index(words, "--")
		require.Positive(t, program, c.where)
		require.Equal(t, "/plugins/velero-plugin-longshore", words[program+1], c.where)
		requireOurs(t, command{c.where, words[program+1:]})
	default:
		require.Failf(t, "nothing checks this", "%s: kubectl %s", c.where, words[0])
	}
}

// made are the files that the pages make, and what is read from a pipe.
var made = []string{"s3.yaml", "verify.yaml", "drill.yaml", "-"}

// requireFile wants the file that a flag names to be here, unless the page makes
// it or has it cloned.
func requireFile(t *testing.T, c command, flag string) {
	t.Helper()
	i := slices.Index(c.words, flag)
	if i < 0 || slices.Contains(made, c.words[i+1]) || strings.HasPrefix(c.words[i+1], "csi-driver-host-path/") {
		return
	}
	require.FileExists(t, filepath.Join(root, c.words[i+1]), c.where)
}

// requireChart wants an installation by Helm to say which version of the chart,
// and it to be the one that the values are written for.
func requireChart(t *testing.T, c command) {
	t.Helper()
	if c.words[1] != "install" {
		return
	}
	i := slices.Index(c.words, "--version")
	require.Positive(t, i, "%s: which version of the chart?", c.where)
	values, err := os.ReadFile(filepath.Join(root, "docs", "examples", "helm-values.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(values), "written for "+c.words[i+1], c.where)
}

var target = regexp.MustCompile(`(?m)^([a-z-]+):.*## `)

func requireTarget(t *testing.T, where, name string) {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	var targets []string
	for _, match := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, match[1])
	}
	require.Contains(t, targets, name, where)
}

var mentioned = regexp.MustCompile("(?m)(?:^    |`)make ([a-z-]+)")

// TestMakeTargets wants each `make` in running text to be a target.
func TestMakeTargets(t *testing.T) {
	for _, p := range pages(t) {
		for _, match := range mentioned.FindAllStringSubmatch(p.text, -1) {
			requireTarget(t, p.path, match[1])
		}
	}
}

// TestVeleroCommands parses every velero command with the real program. With
// --help behind the flags it does nothing more, but refuses those that it does
// not know.
func TestVeleroCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Velero")
	}
	velero, err := testbed.Velero.Path(t.Context())
	require.NoError(t, err)
	seen := 0
	for _, c := range commands(t) {
		if c.words[0] != "velero" {
			continue
		}
		seen++
		command := exec.CommandContext(t.Context(), velero, append(slices.Clone(c.words[1:]), "--help")...)
		command.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s: %v: %s", c.where, c.words, out)
		_, usage, _ := strings.Cut(string(out), "Usage:\n  ")
		usage, _, _ = strings.Cut(usage, "\n")
		requireUsage(t, c, strings.Fields(usage))
	}
	require.Positive(t, seen)
}

// requireUsage wants the help to be that of the command, not of one above it.
func requireUsage(t *testing.T, c command, usage []string) {
	t.Helper()
	for i, word := range usage {
		if i < len(c.words) && word == c.words[i] {
			continue
		}
		require.True(t, word == "[flags]" || strings.ToUpper(word) == word, "%s: %v is not known to Velero, only %v", c.where, c.words, usage)
		return
	}
}
