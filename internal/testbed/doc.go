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
//
// # The field
//
// A cluster can be put into the conditions that users have:
//
//   - Cluster.AddForeign: Available and Released volumes, snapshots and a second
//     Velero of others; Foreign.Verify tells what of it was touched;
//   - Cluster.ControlDriver: a driver that copies slowly, fails, rounds, refuses,
//     lacks a capability, or has long handles; Cluster.DriverCalls and
//     Cluster.StoredVolumes tell what it was asked for and has;
//   - Cluster.AddDriver: a second driver, also one that serves the same storage under
//     another name;
//   - Cluster.WatchVolumes: what Mayastor and vSphere do when PersistentVolumes come
//     and go;
//   - Cluster.LoseWebhook: a policy engine that is down;
//   - Cluster.SetTopologyKeys, ClusterOptions.NoTopology: nodes and drivers without
//     topology;
//   - ClusterOptions.ExtraCreateMetadata, ClassRetain, ClassWaitForFirstConsumer,
//     AttributesGold: the variants of sidecars and classes;
//   - Bed.StartVelero with a Namespace: a second Velero in the same cluster.
package testbed
