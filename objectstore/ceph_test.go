package objectstore

import (
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func startCeph(t *testing.T, o testbed.S3Options) *server {
	testbed.RequirePart(t, testbed.Ceph)
	o.Server = testbed.CephServer
	return start(t, o)
}

func TestCeph(t *testing.T) {
	t.Parallel()
	conformance(t, startCeph(t, testbed.S3Options{}), map[string]string{"partSize": "5MiB"})
}

func TestCephVirtualHosts(t *testing.T) {
	t.Parallel()
	real := startCeph(t, testbed.S3Options{})
	more := map[string]string{"s3Url": "http://" + testbed.CephDomain, "addressing": "virtual", "proxyUrl": anyHost(t, real), "partSize": "5MiB"}
	conformance(t, real, more)
}

// TestCephEncryptsWithCustomerKey runs the suite with a key of the customer's, but for signed
// URLs, which cannot work with it.
func TestCephEncryptsWithCustomerKey(t *testing.T) {
	t.Parallel()
	real := startCeph(t, testbed.S3Options{TLS: true})
	more := map[string]string{"partSize": "5MiB", "customerKeyEncryptionFile": customerKey(t)}
	conformance(t, real, more, signedURLs)
}

// TestCephInServersDocument stands beside TestServersDocument because only some
// machines can have Ceph.
func TestCephInServersDocument(t *testing.T) {
	real := startCeph(t, testbed.S3Options{TLS: true, Versioning: true})
	requireColumn(t, testbed.CephServer, featuresOf(t, real))
}
