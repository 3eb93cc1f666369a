// Package objectstore is Velero's ObjectStore over any S3-compatible storage.
//
// Open turns the config of a BackupStorageLocation into a Store, whose methods
// are what Velero asks of a location, a file each. What the package promises:
//
//   - Success means stored. PutObject returns nil only on proof: the server's
//     ETag is the MD5 of what was sent, or the object shows the token of this
//     very upload, or the ETag that its parts must have.
//   - A listing is complete or an error, and a download is whole or an error:
//     its end is proven by a size, and by a checksum where there is one.
//   - Every request is plain: one body, one Content-Length, one signed SHA-256.
//     Neither trailers nor aws-chunked framing are ever sent, because many S3
//     servers refuse them or store the framing.
//   - Every answer that is no object is bounded in size and in time. Every wait
//     ends, and its error says what it waited for.
//   - The text of an error stands alone: operation, bucket, key, the server's
//     own answer, and what to do. It never holds a secret.
//
// It stands on packages of its own, each on those before it: s3err (what an error
// means), account (where the storage is, and as whom requests are made), wire (the
// way of a request and of its answer), client (minio-go, repeating what fails),
// heap (little garbage beside large buffers), and upload, download, listing and
// encryption.
package objectstore
