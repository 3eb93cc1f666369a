package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// groupSnapshotGroup is the API of group snapshots. What the plugin reads and writes is
// the same in all of groupSnapshotVersions, of which the first that the cluster serves is
// used: v1 came with external-snapshotter 8.6.
const groupSnapshotGroup = "groupsnapshot.storage.k8s.io"

var groupSnapshotVersions = []string{"v1", "v1beta2"}

// GroupSnapshots are the clients for group snapshots, in one version of their API.
type GroupSnapshots struct {
	Version  string
	Contents Resource[*GroupSnapshotContent]
	Classes  Resource[*GroupSnapshotClass]
}

// GroupSnapshotContent is a VolumeGroupSnapshotContent, as far as it is used here.
type GroupSnapshotContent struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   GroupSnapshotContentSpec   `json:"spec"`
	Status GroupSnapshotContentStatus `json:"status,omitzero"`
}

// GroupSnapshotContentSpec asks for a group snapshot of volumes, or names one.
type GroupSnapshotContentSpec struct {
	Ref            corev1.ObjectReference    `json:"volumeGroupSnapshotRef"`
	DeletionPolicy snapshotv1.DeletionPolicy `json:"deletionPolicy"`
	Driver         string                    `json:"driver"`
	ClassName      string                    `json:"volumeGroupSnapshotClassName,omitempty"`
	Source         GroupSnapshotSource       `json:"source"`
}

// GroupSnapshotSource has either the handles of the volumes, or the group.
type GroupSnapshotSource struct {
	VolumeHandles []string              `json:"volumeHandles,omitempty"`
	Handles       *GroupSnapshotHandles `json:"groupSnapshotHandles,omitempty"`
}

// GroupSnapshotHandles are those of a group that is in the storage.
type GroupSnapshotHandles struct {
	Group     string   `json:"volumeGroupSnapshotHandle"`
	Snapshots []string `json:"volumeSnapshotHandles"`
}

// GroupSnapshotContentStatus is what csi-snapshotter reports.
type GroupSnapshotContentStatus struct {
	Handle     string                          `json:"volumeGroupSnapshotHandle,omitempty"`
	ReadyToUse bool                            `json:"readyToUse,omitempty"`
	Error      *snapshotv1.VolumeSnapshotError `json:"error,omitempty"`
	Snapshots  []GroupSnapshotMember           `json:"volumeSnapshotInfoList,omitempty"`
}

// GroupSnapshotMember is the snapshot of one volume.
type GroupSnapshotMember struct {
	VolumeHandle   string `json:"volumeHandle"`
	SnapshotHandle string `json:"snapshotHandle"`
	CreationTime   *int64 `json:"creationTime,omitempty"`
	RestoreSize    *int64 `json:"restoreSize,omitempty"`
}

// GroupSnapshotContentList is a list of them.
type GroupSnapshotContentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []GroupSnapshotContent `json:"items"`
}

// GroupSnapshotClass is a VolumeGroupSnapshotClass.
type GroupSnapshotClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Driver     string            `json:"driver"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

// GroupSnapshotClassList is a list of them.
type GroupSnapshotClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []GroupSnapshotClass `json:"items"`
}

// GroupSnapshots returns the clients for the version that the cluster serves, nil if it
// has no group snapshots.
func (c *Client) GroupSnapshots(ctx context.Context) (*GroupSnapshots, error) {
	raw, err := c.Raw(ctx, "/apis/"+groupSnapshotGroup, nil, nil)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	var served metav1.APIGroup
	if err == nil {
		err = json.Unmarshal(raw, &served)
	}
	if err != nil {
		return nil, fmt.Errorf("look for the API of group snapshots: %w", err)
	}
	for i, version := range groupSnapshotVersions {
		if slices.ContainsFunc(served.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == version }) {
			return c.groupSnapshots[i], nil
		}
	}
	return nil, nil
}

// addGroupSnapshots adds the types to a scheme, in all versions.
func addGroupSnapshots(scheme *runtime.Scheme) error {
	for _, name := range groupSnapshotVersions {
		version := schema.GroupVersion{Group: groupSnapshotGroup, Version: name}
		for kind, object := range map[string]runtime.Object{
			"VolumeGroupSnapshotContent": &GroupSnapshotContent{}, "VolumeGroupSnapshotContentList": &GroupSnapshotContentList{},
			"VolumeGroupSnapshotClass": &GroupSnapshotClass{}, "VolumeGroupSnapshotClassList": &GroupSnapshotClassList{},
		} {
			scheme.AddKnownTypeWithName(version.WithKind(kind), object)
		}
		metav1.AddToGroupVersion(scheme, version)
	}
	return nil
}

// DeepCopyObject implements runtime.Object.
func (c *GroupSnapshotContent) DeepCopyObject() runtime.Object { return copyOf(c) }

// DeepCopyObject implements runtime.Object.
func (l *GroupSnapshotContentList) DeepCopyObject() runtime.Object { return copyOf(l) }

// DeepCopyObject implements runtime.Object.
func (c *GroupSnapshotClass) DeepCopyObject() runtime.Object { return copyOf(c) }

// DeepCopyObject implements runtime.Object.
func (l *GroupSnapshotClassList) DeepCopyObject() runtime.Object { return copyOf(l) }

// copyOf copies an object by its JSON, which has all of it.
func copyOf[T any](o *T) *T {
	copied := new(T)
	text, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(text, copied)
	}
	if err != nil {
		panic(fmt.Sprintf("kube: copy a %T: %v", o, err))
	}
	return copied
}
