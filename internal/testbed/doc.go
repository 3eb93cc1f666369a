// Package testbed runs the real programs that Longshore works with, on one
// machine, without containers: a Kubernetes control plane with the CSI snapshot
// controllers and a CSI driver whose volumes are folders, S3 servers, and the
// Velero server with its command-line tool.
//
// Each program is a [Part], built once from a module pinned under hack/tools
// into the user's cache folder. A [Bed] is one temporary folder, the processes
// that live in it and their logs; several beds, and several clusters in one bed,
// run side by side. Everything listens on 127.0.0.1 at ports the kernel gave.
//
// Nothing outlives its bed: Close stops every process by its id, and when the
// program that owns the bed is killed, a watchdog in each process group kills
// the group.
//
//	bed := testbed.ForTest(t)
//	s3, err := bed.StartS3(ctx, testbed.S3Options{})
//	cluster, err := bed.StartCluster(ctx, testbed.ClusterOptions{})
//	velero, err := bed.StartVelero(ctx, cluster, testbed.VeleroOptions{S3: s3})
//	out, err := velero.CLI(ctx, "backup", "create", "b1", "--wait")
package testbed
