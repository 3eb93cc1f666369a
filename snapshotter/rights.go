package snapshotter

import "strings"

// Right is what the plugin must be allowed to do with a kind of object.
type Right struct {
	Group, Resource, Subresource string
	Verbs                        []string
	// Namespace is where it is needed.
	Namespace Where
	// Name is that of the one object it is about, "" for all of the kind.
	Name string
}

// Where is the namespace in which a right is needed.
type Where int

// The namespaces.
const (
	Everywhere Where = iota // in every namespace, or of a kind that has none
	InStaging               // where staging objects go
	InVelero                // where Velero is
	InDefault               // where events are of an object that has no namespace
)

// Rights lists all the rights that the calls need with these settings, as
// docs/rbac.yaml grants them.
func (s Settings) Rights() []Right {
	const storage, snapshot, groupSnapshot = "storage.k8s.io", "snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io"
	rights := []Right{
		{"", "persistentvolumes", "", []string{"get", "list", "watch", "patch", "delete"}, Everywhere, ""},
		{"", "persistentvolumeclaims", "", []string{"get", "list"}, Everywhere, ""},
		{"", "nodes", "", []string{"list"}, Everywhere, ""},
		{storage, "storageclasses", "", []string{"get", "list", "create", "patch", "delete"}, Everywhere, ""},
		{storage, "csinodes", "", []string{"list"}, Everywhere, ""},
		{storage, "csidrivers", "", []string{"get"}, Everywhere, ""},
		{snapshot, "volumesnapshotclasses", "", []string{"list"}, Everywhere, ""},
		{snapshot, "volumesnapshotcontents", "", []string{"get", "list", "watch", "create", "patch", "delete"}, Everywhere, ""},
		{groupSnapshot, "volumegroupsnapshotclasses", "", []string{"list"}, Everywhere, ""},
		{groupSnapshot, "volumegroupsnapshotcontents", "", []string{"get", "list", "watch", "create", "patch", "delete"}, Everywhere, ""},
		{"", "persistentvolumeclaims", "", []string{"get", "list", "watch", "create", "delete"}, InStaging, ""},
		{snapshot, "volumesnapshots", "", []string{"get", "list", "watch", "create", "delete"}, InStaging, ""},
		{"", "events", "", []string{"list"}, InStaging, ""},
		{"", "events", "", []string{"list"}, InDefault, ""},
		{"", "configmaps", "", []string{"get", "list", "create", "patch", "delete"}, InVelero, ""},
		{"velero.io", "backups", "", []string{"get"}, InVelero, ""},
		{"velero.io", "backupstoragelocations", "", []string{"get"}, InVelero, ""},
		{"velero.io", "volumesnapshotlocations", "", []string{"get"}, InVelero, ""},
	}
	if name, _, _ := strings.Cut(s.SigningKeySecret, "/"); name != "" {
		rights = append(rights, Right{"", "secrets", "", []string{"get"}, InVelero, name})
	}
	return rights
}
