// Package cli is what a person meets who starts the plugin's binary by hand.
package cli

import (
	"fmt"
	"io"
)

const usage = `velero-plugin-longshore stores Velero's backups on any S3-compatible storage and
its volume snapshots through any CSI driver. Velero starts it as a plugin:

  velero install --provider longshore.dev/s3-csi --plugins IMAGE ...

Started by hand it knows these commands:

  install [DIR]   copy this binary into DIR, by default /target, where Velero's
                  init container looks for plugins
  check objectstore|snapshotter [NAME]
                  try all that a location needs and say what to change
  sweep [NAME]    remove what killed plugin processes left in the cluster
  version         print the version
  help            print this text

check --help and sweep --help say more.
`

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
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "install":
		return report(stderr, runInstall(args[1:], stdout))
	case "check":
		return runCheck(args[1:], stdout, stderr)
	case "sweep":
		return runSweep(args[1:], stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, version)
		return exitOK
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return exitOK
	default:
		fmt.Fprintf(stderr, "unknown command %q\n\n%s", args[0], usage)
		return exitUsage
	}
}

func report(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintln(stderr, "velero-plugin-longshore:", err)
		return exitFailed
	}
	return exitOK
}
