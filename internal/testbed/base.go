package testbed

import (
	"fmt"
	"strings"
)

// baseObjects are the driver, the nodes that have it, and the classes.
func (c *Cluster) baseObjects() string {
	var text strings.Builder
	fmt.Fprintf(&text, classes, DriverName, ClassImmediate, ClassWaitForFirstConsumer, ClassRetain, SnapshotClass)
	for _, zone := range c.Zones {
		fmt.Fprintf(&text, node, NodeName(zone), TopologyKey, zone, DriverName, NodeKey, strings.Join(c.topologyKeys(), ","))
	}
	return text.String()
}

const classes = `
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: %[1]s}
spec: {attachRequired: false, volumeLifecycleModes: [Persistent]}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: %[2]s
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: %[1]s
reclaimPolicy: Delete
allowVolumeExpansion: true
volumeBindingMode: Immediate
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %[3]s}
provisioner: %[1]s
reclaimPolicy: Delete
allowVolumeExpansion: true
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %[4]s}
provisioner: %[1]s
reclaimPolicy: Retain
allowVolumeExpansion: true
volumeBindingMode: Immediate
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: %[5]s}
driver: %[1]s
deletionPolicy: Delete
`

// node is a node without a kubelet: the CSINode is what the provisioner looks at.
const node = `
---
apiVersion: v1
kind: Node
metadata:
  name: %[1]s
  labels: {kubernetes.io/hostname: %[1]s, %[2]s: %[3]s, %[5]s: %[1]s}
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: %[1]s}
spec:
  drivers:
  - {name: %[4]s, nodeID: %[1]s, topologyKeys: [%[6]s]}
`

// attributesClasses are there where the API server has the kind (1.34 and later).
const attributesClasses = `
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: {name: %[2]s}
driverName: %[1]s
parameters: {tier: %[2]s}
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: {name: %[3]s}
driverName: %[1]s
parameters: {tier: %[3]s}
`
