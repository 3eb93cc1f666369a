package objectstore

import (
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// endpoint is where requests go: a scheme and a host.
type endpoint struct {
	url    url.URL
	lookup minio.BucketLookupType
}

// endpointOf reads an address that checkAddress has accepted.
func endpointOf(address string, s *Settings) endpoint {
	u, _ := url.Parse(address)
	e := endpoint{url: url.URL{Scheme: u.Scheme, Host: u.Host}}
	e.lookup = e.addressing(s)
	return e
}

// awsEndpoint is the endpoint of AWS itself. minio-go puts the region's own
// host in its place, by the region of the client.
func awsEndpoint(s *Settings) endpoint {
	return endpointOf("https://s3.amazonaws.com", s)
}

func (e endpoint) secure() bool { return e.url.Scheme == "https" }

func (e endpoint) aws() bool { return s3utils.IsAmazonEndpoint(e.url) }

func (e endpoint) String() string { return e.url.String() }

// addressing decides where the bucket's name goes. A bucket with a dot would
// not match the certificate of *.HOST.
func (e endpoint) addressing(s *Settings) minio.BucketLookupType {
	switch {
	case s.S3ForcePathStyle || s.Addressing == "path":
		return minio.BucketLookupPath
	case s.Addressing == "virtual":
		return minio.BucketLookupDNS
	case e.secure() && strings.Contains(s.Bucket, "."):
		return minio.BucketLookupPath
	case hasSuffix(e.url.Hostname(), ".myqcloud.com", ".myhuaweicloud.com", ".ksyuncs.com"):
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// equalParts tells whether the storage refuses multipart uploads whose parts
// differ in size.
func (e endpoint) equalParts() bool {
	return hasSuffix(e.url.Hostname(), ".r2.cloudflarestorage.com")
}

func isAWS(address string) bool {
	u, err := url.Parse(address)
	return err == nil && s3utils.IsAmazonEndpoint(url.URL{Scheme: u.Scheme, Host: u.Host})
}

func hasSuffix(text string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(text, suffix) {
			return true
		}
	}
	return false
}
