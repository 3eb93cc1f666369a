// Package cli is what a person meets who starts the plugin's binary by hand.
package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Exit codes of Run.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Run runs the command that args name, without the program's name, and returns
// the exit code.
func Run(args []string, version string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		return show(stderr, usage, exitUsage)
	}
	switch args[0] {
	case "install":
		return runInstall(args[1:], stdout, stderr)
	case "check":
		return runCheck(args[1:], stdout, stderr)
	case "verify":
		return runVerify(args[1:], stdout, stderr)
	case "drill":
		return runDrill(args[1:], stdout, stderr)
	case "logs":
		return runLogs(args[1:], stdout, stderr)
	case "describe":
		return runDescribe(args[1:], stdout, stderr)
	case "download":
		return runDownload(args[1:], stdout, stderr)
	case "rewrap":
		return runRewrap(args[1:], stdout, stderr)
	case "sweep":
		return runSweep(args[1:], stdout, stderr)
	case "print":
		return runPrint(args[1:], stdout, stderr)
	case "completion", "__complete", "__completeNoDesc":
		return runCompletion(args, stdout, stderr)
	case "version", "--version":
		return runVersion(args[1:], version, stdout, stderr)
	case "help", "-h", "--help":
		return runHelp(args[1:], version, stdout, stderr)
	default:
		return usageError(stderr, unknown(args[0]))
	}
}

// unknown tells which command may have been meant.
func unknown(command string) error {
	root, meant := Tree(), ""
	root.SuggestionsMinimumDistance = 2
	if like := root.SuggestionsFor(command); len(like) > 0 {
		meant = " did you mean " + strings.Join(like, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q;%s velero-plugin-longshore --help lists all", command, meant)
}

func report(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprint(stderr, check.TerminalOf(stderr).Wrap(fmt.Sprint("velero-plugin-longshore: ", err)))
		return exitFailed
	}
	return exitOK
}

// usageError reports what keeps a command from being begun.
func usageError(stderr io.Writer, err error) int {
	_ = report(stderr, err)
	return exitUsage
}
