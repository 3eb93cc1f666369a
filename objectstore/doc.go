// Package objectstore is Velero's ObjectStore over any S3-compatible storage.
//
// Open turns the config of a BackupStorageLocation into a Store, whose methods
// are what Velero asks of a location. What the package promises:
//
//   - Success means stored. PutObject returns nil only on proof: the server's
//     ETag is the MD5 of what was sent, or a HEAD shows the size that was read.
//   - A listing is complete or an error, and a download is whole or an error.
//   - Every request is plain: one body, one Content-Length, one signed SHA-256.
//     Neither trailers nor aws-chunked framing are ever sent, because many S3
//     servers refuse them or store the framing.
//   - Every wait ends, and its error says what it waited for.
//   - The text of an error stands alone: operation, bucket, key, the server's
//     own answer, and what to do. It never holds a secret.
//
// Which file holds what: settings.go and validate.go the config, endpoint.go
// and region.go where to go, credentials.go who we are, transport.go, stall.go,
// guard.go, resign.go and requestlog.go the wire, errors.go and hints.go what
// an error means, retry.go what is tried again, upload.go, multipart.go,
// settle.go, parts.go and buffers.go the upload, download.go and verify.go the
// download.
package objectstore
