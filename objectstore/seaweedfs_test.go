package objectstore

import (
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestSeaweedFS leaves out the missing bucket: an upload with an administrator's
// key makes it.
func TestSeaweedFS(t *testing.T) {
	t.Parallel()
	conformance(t, start(t, testbed.S3Options{Server: testbed.SeaweedFSServer}), map[string]string{"partSize": "5MiB"}, noBucket)
}
