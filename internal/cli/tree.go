package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const program = "velero-plugin-longshore"

// Tree is what Run knows, as cobra describes commands: for completion by shells and
// for the manual. Its commands are those that the help names, and do nothing.
func Tree() *cobra.Command {
	root := &cobra.Command{Use: program, Short: "object store and volume snapshotter of Velero, and commands for them", Long: manual(usage), DisableAutoGenTag: true}
	lines := strings.Split(usage, "\n")
	for i, line := range lines[:len(lines)-1] {
		short, described := strings.CutPrefix(lines[i+1], "      ")
		if named, found := strings.CutPrefix(line, "  "); found && described && named[0] != ' ' {
			for one := range strings.SplitSeq(named, ", ") {
				addOutline(root, strings.Fields(one), short)
			}
		}
	}
	return root
}

// addOutline adds a command as the help names it: its name, and what it takes.
func addOutline(root *cobra.Command, words []string, short string) {
	switch name := words[0]; name {
	case "completion": // cobra has its own
	case "check":
		parent := &cobra.Command{Use: name, Short: short, Long: manual(checkUsage)}
		for kind := range strings.SplitSeq(words[1], "|") {
			parent.AddCommand(outline([]string{name, kind}, kind+" [NAME]", short))
		}
		root.AddCommand(parent)
	default:
		c := outline(words[:1:1], strings.Join(words, " "), short)
		if name == "print" {
			c.ValidArgs = strings.Split(words[1], "|")
		}
		root.AddCommand(c)
	}
}

// outline asks a command for its help, and describes it with the flags it has.
func outline(args []string, use, short string) *cobra.Command {
	asked := &helpCollector{Writer: io.Discard}
	_ = Run(append(args, "--help"), "", asked, io.Discard)
	c := &cobra.Command{Use: use, Short: short, Long: manual(asked.help), Run: func(*cobra.Command, []string) {}}
	c.Flags().AddFlagSet(asked.flags)
	if c.Flags().Lookup("output") != nil {
		_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
	return c
}

// helpCollector stands in the place of the standard output to get the help of a
// command, and its flags, as they are.
type helpCollector struct {
	io.Writer
	help  string
	flags *pflag.FlagSet
}

// collect tells whether w wants a help as it is.
func collect(w io.Writer, help string, flags *pflag.FlagSet) bool {
	asked, wanted := w.(*helpCollector)
	if wanted {
		asked.help, asked.flags = help, flags
	}
	return wanted
}

// manual is a help text as Markdown, in which what is indented stays as it is.
func manual(help string) string { return strings.ReplaceAll(help, "\n  ", "\n      ") }

// runCompletion writes the script of a shell, or answers what such a script asks.
func runCompletion(args []string, stdout, stderr io.Writer) int {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	if args[0] == "completion" && len(args) > 1 && !isHelp(args[1]) && !slices.Contains(shells, args[1]) {
		return usageError(stderr, fmt.Errorf("completion %q: there are %s", args[1], strings.Join(shells, ", ")))
	}
	root := Tree()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SilenceUsage = true
	if root.Execute() != nil {
		return exitUsage
	}
	return exitOK
}
