package snapshotter

import (
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
)

// Settings are what a VolumeSnapshotLocation's config may say.
type Settings struct {
	SnapshotClass   string            `key:"snapshotClass" help:"VolumeSnapshotClass for the volumes of that class's driver. A claim's annotation velero.io/csi-volumesnapshot-class takes precedence."`
	SnapshotClasses map[string]string `key:"snapshotClass.*" help:"VolumeSnapshotClass for the volumes of the driver that the key ends in, as in snapshotClass.ebs.csi.aws.com. It takes precedence over snapshotClass."`
	Drivers         []string          `key:"drivers" help:"CSI drivers whose volumes this location takes; volumes of others are left to Velero's next location. Empty takes all."`

	RenamedDrivers  map[string]string `key:"driver.*" help:"CSI driver that has taken the place of the one that the key ends in, as in driver.ebs.csi.aws.com: ebs.csi.eks.amazonaws.com: snapshots of the old name are restored and deleted by the new one, which must know their handles."`
	SnapshotSecrets []string          `key:"snapshotSecrets" help:"Secrets, as namespace/name, that a driver may be given for a snapshot although no VolumeSnapshotClass of it names them: those of snapshots taken with a class that has changed since, or in another cluster."`

	SigningKeySecret string `key:"signingKeySecret" help:"Secret in Velero's namespace, as name/key, whose value signs the IDs of snapshots: see SECURITY.md. The value is a key of at least 32 characters, or several, one a line: the first signs, all are accepted."`
	RequireSignature bool   `key:"requireSignature" help:"Refuses to restore or delete a snapshot whose ID has no signature, as those of backups from before signingKeySecret was set. A signature that no key made is always refused."`

	WaitFor          string        `key:"waitFor" oneof:"auto,handle,ready" help:"What a backup waits for: handle, when the point in time is taken and the storage has named the snapshot, or ready, when the storage says that it can be restored, which may include an upload. The backup goes on meanwhile; Velero shows WaitingForPluginOperations until then. auto is handle for drivers whose snapshots could be restored at once in this cluster, and ready for the others."`
	SnapshotTimeout  time.Duration `key:"snapshotTimeout" help:"How long one volume's snapshot may take."`
	RestoreTimeout   time.Duration `key:"restoreTimeout" help:"How long it may take to make one volume from a snapshot."`
	DeleteTimeout    time.Duration `key:"deleteTimeout" help:"How long the deletion of one snapshot may take."`
	ErrorGracePeriod time.Duration `key:"errorGracePeriod" help:"How long a driver may go on failing, and retrying, before its error is final."`

	AbandonedDrivers []string          `key:"abandonedDrivers" help:"CSI drivers that are gone for good. The deletion of one of their snapshots succeeds, leaves it in the storage and logs its handle, so that old backups can be deleted."`
	StorageClasses   map[string]string `key:"storageClass.*" help:"StorageClass with which to restore volumes of the class that the key ends in, as in storageClass.old: new. It takes precedence over Velero's own mapping (the ConfigMap of its change-storage-class action)."`
	ClasslessStorage string            `key:"storageClass." help:"StorageClass with which to restore volumes that have none."`
	StagingNamespace string            `key:"stagingNamespace" help:"Namespace for the objects that exist while a volume is restored or a snapshot deleted. Velero's own if empty."`
	Groups           string            `key:"groups" oneof:"auto,require,off" help:"What becomes of the volumes of claims that Velero groups by a label (velero.io/volume-group): auto takes their snapshots when Velero asks for the first, as one if the driver takes groups, else side by side; require fails the backup of a volume whose group cannot be taken as one; off takes each when Velero asks for it."`
	SweepAfter       time.Duration     `key:"sweepAfter" help:"How long after the end of its call an object that was left is removed. With 0 the plugin removes none by itself; the command sweep still does, once their calls have ended."`

	KubeQPS   float64 `key:"kubeQPS" help:"Requests a second to the Kubernetes API, on average."`
	KubeBurst int     `key:"kubeBurst" help:"Requests to the Kubernetes API at once."`

	CredentialsFile string `key:"credentialsFile" help:"Accepted, since Velero adds it where the location names a credential. It does nothing: the CSI driver alone holds the credentials of its storage."`
}

// DefaultSettings returns the settings of a location whose config is empty.
func DefaultSettings() Settings {
	return Settings{
		WaitFor:          WaitForAuto,
		SnapshotTimeout:  10 * time.Minute,
		RestoreTimeout:   10 * time.Minute,
		DeleteTimeout:    5 * time.Minute,
		ErrorGracePeriod: 2 * time.Minute,
		Groups:           GroupsAuto,
		SweepAfter:       10 * time.Minute,
		KubeQPS:          50,
		KubeBurst:        100,
	}
}

// The values of Settings.WaitFor.
const (
	WaitForAuto   = "auto"
	WaitForHandle = "handle"
	WaitForReady  = "ready"
)

// Validate implements settings.Validator.
func (s Settings) Validate(problems *settings.Problems) {
	for key, value := range map[string]time.Duration{
		"snapshotTimeout":  s.SnapshotTimeout,
		"restoreTimeout":   s.RestoreTimeout,
		"deleteTimeout":    s.DeleteTimeout,
		"errorGracePeriod": s.ErrorGracePeriod,
	} {
		if value <= 0 {
			problems.Add(key, value.String(), "a duration above 0")
		}
	}
	s.validateTrust(problems)
	if s.SweepAfter < 0 {
		problems.Add("sweepAfter", s.SweepAfter.String(), "a duration from 0")
	}
	if s.KubeQPS <= 0 {
		problems.Addf("kubeQPS: %v is not accepted; it takes a number above 0", s.KubeQPS)
	}
	if s.KubeBurst < 1 {
		problems.Addf("kubeBurst: %d is not accepted; it takes a whole number from 1", s.KubeBurst)
	}
}

func (s Settings) validateTrust(problems *settings.Problems) {
	if name, key, ok := strings.Cut(s.SigningKeySecret, "/"); s.SigningKeySecret != "" && (!ok || name == "" || key == "" || strings.Contains(key, "/")) {
		problems.Add("signingKeySecret", s.SigningKeySecret, "the name of a Secret in Velero's namespace and a key in it, as in longshore-signing/keys")
	}
	if s.RequireSignature && s.SigningKeySecret == "" {
		problems.Addf("requireSignature: true is not accepted without signingKeySecret, which names the key that signs")
	}
	for _, secret := range s.SnapshotSecrets {
		if namespace, name, ok := strings.Cut(secret, "/"); !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			problems.Add("snapshotSecrets", secret, "namespaces and names of Secrets, as in rook-ceph/rook-csi-rbd-provisioner, separated by commas")
		}
	}
	for old, driver := range s.RenamedDrivers {
		if driver == "" || driver == old {
			problems.Add("driver."+old, driver, "the name of another CSI driver")
		}
	}
}
