package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/longshore-dev/velero-plugin/docs"
)

const usage = `velero-plugin-longshore stores Velero's backups on any S3-compatible storage and
its volume snapshots through any CSI driver. Velero starts it as a plugin:

  velero install --provider longshore.dev/s3-csi --plugins IMAGE ...

Started by hand it knows these commands, and says more of each with --help:

  check objectstore|snapshotter [NAME]
      try all that a location needs, and say what to change
  verify BACKUP... | --all | --latest-of SCHEDULE
      prove that backups can be restored: objects, snapshots, and the cluster
  drill BACKUP | --latest-of SCHEDULE [-- COMMAND...]
      restore a backup into scratch namespaces, test it, and remove it again
  logs BACKUP|RESTORE, describe BACKUP, download BACKUP [PATH...]
      read what is stored, without Velero and without signed URLs
  rewrap BACKUP... | --all
      encrypt old backups to the present public keys, or decrypt them
  sweep [NAME]
      remove what killed plugin processes left in the cluster
  install [DIR]
      copy this binary into DIR, as Velero's init container does
  print rbac|admission|policy|lifecycle|cronjob|drill-cronjob
      print a manifest for the cluster, or a policy for the storage
  completion bash|zsh|fish|powershell
      print a script with which the shell completes commands and flags
  version
      print the version

Exit status: 0 it is done, 1 it failed, 2 it could not begin.
Documentation: ` + docs.Address + "\n"

const checkUsage = `velero-plugin-longshore check objectstore|snapshotter [NAME] [flags]

Goes through all that a location needs, step by step, and says what to change
where a step fails. NAME is a location in the cluster; without it, the default
one. What the check makes, it removes.

  velero-plugin-longshore check objectstore
  velero-plugin-longshore check objectstore --file location.yaml
  velero-plugin-longshore check snapshotter default --full

Exit status: 0 it works, 1 a step failed, 2 the check could not be made.
`

// checkMore stands where no kind was named.
const checkMore = `
The flags are listed by

  velero-plugin-longshore check objectstore --help
  velero-plugin-longshore check snapshotter --help
`

const sweepUsage = `velero-plugin-longshore sweep [NAME] [flags]

Removes what plugin processes that were killed left in the cluster: objects with
the label app.kubernetes.io/managed-by=longshore whose deadline has passed, with
the snapshots and volumes behind them that no backup or restore knows of. The
plugin does so by itself from time to time (sweepAfter). The snapshots of a
backup are removed when it has ended and its stored list does not name them; if
that is not certain, they are left alone and reported. NAME is the volume
snapshot location whose settings apply; without it, the default one.

  velero-plugin-longshore sweep --dry-run

Exit status: 0 done, 1 something could not be removed, 2 it could not begin.
`

const installUsage = `velero-plugin-longshore install [DIR]

Copies this binary into the folder DIR, by default /target. That is where the
init container that Velero makes of the plugin's image mounts the folder of
Velero's plugins. The copy appears whole or not at all.

Exit status: 0 it is there, 1 it is not, 2 it was called wrongly.
`

const printUsage = `velero-plugin-longshore print WHAT [flags]

Prints what a cluster or a storage needs, with your names in it. WHAT is one of

  rbac           the rights of Velero's service account for snapshots, needed
                 where Velero is not an administrator of the cluster
  admission      what Velero's service account may change, as a
                 ValidatingAdmissionPolicy, for Kubernetes 1.30 and later
  policy         the storage's policy of least privilege for the credentials
  lifecycle      a lifecycle configuration that removes broken uploads
  cronjob        a CronJob that verifies all backups every night, and its rights
  drill-cronjob  a CronJob that drills the newest backup every week, with its
                 rights and a policy that confines them, for Kubernetes 1.30 and
                 later

  velero-plugin-longshore print rbac -n velero | kubectl apply -f -
  velero-plugin-longshore print policy --bucket my-bucket > policy.json

Exit status: 0 printed, 1 it could not be written, 2 it was called wrongly.
`

// show writes a help text.
func show(w io.Writer, text string, status int) int {
	if collect(w, text, nil) {
		return status
	}
	fmt.Fprint(w, text)
	return status
}

// runHelp answers `help` and `help COMMAND`.
func runHelp(about []string, version string, stdout, stderr io.Writer) int {
	if len(about) == 0 || isHelp(about[0]) || about[0] == "version" {
		return show(stdout, usage, exitOK)
	}
	return Run(append(slices.Clone(about), "--help"), version, stdout, stderr)
}

func isHelp(arg string) bool { return arg == "-h" || arg == "--help" || arg == "help" }
