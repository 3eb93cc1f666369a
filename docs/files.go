// Package docs holds the manifests and policies of the documentation, which the
// command prints for those who have only the binary.
package docs

import "embed"

// Files are the manifests for Kubernetes and the policies for the storage.
//
//go:embed rbac.yaml admission.yaml iam/bucket.json iam/prefix.json examples/lifecycle.json
var Files embed.FS
