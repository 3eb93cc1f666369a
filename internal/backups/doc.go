// Package backups reads what Velero has written to a backup storage location: its
// layout, and the content of its objects. It needs no Velero and no cluster, and
// writes nothing.
//
// A backup NAME is a folder of objects, PREFIX/backups/NAME/, of which each is a
// [Part]. Velero writes them in one go and afterwards only velero-backup.json again
// (and, when a plugin's operations took longer, the archive and the volume info). A
// restore has a folder likewise, PREFIX/restores/NAME/. The names are those of
// pkg/persistence/object_store_layout.go in Velero, 1.14 to 1.18.
//
// What is read is whole or an error: an object ends where the storage proves its
// end, the compression's checksum fits, and nothing stands behind the value that it
// holds. Lists are held in memory, the archive never is; no object may unfold to
// more than the limits of this package.
//
// A backup that is not there is a [Missing], which names those that are called alike.
package backups
