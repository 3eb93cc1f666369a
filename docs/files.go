// Package docs holds the manifests and policies of the documentation, which the
// command prints for those who have only the binary, and its address.
package docs

import "embed"

// Address is where the project and its documents are found.
const Address = "https://github.com/longshore-dev/velero-plugin"

// Page is the address of one of the documents, such as configuration.md.
func Page(name string) string { return Address + "/blob/main/docs/" + name }

// Files are the manifests for Kubernetes, the policies for the storage, and the
// versions that were tested.
//
//go:embed rbac.yaml admission.yaml iam/bucket.json iam/prefix.json examples/lifecycle.json examples/verify-cronjob.yaml examples/drill-cronjob.yaml compatibility.json
var Files embed.FS
