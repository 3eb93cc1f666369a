package account

import (
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// Endpoint is where requests go: a scheme and a host, and where the bucket's
// name stands.
type Endpoint struct {
	URL    url.URL
	Lookup minio.BucketLookupType
}

// endpointOf reads an address that checkAddress has accepted.
func endpointOf(address string, s *Settings) Endpoint {
	u, err := url.Parse(address)
	if err != nil {
		return Endpoint{} // Validate has told
	}
	e := Endpoint{URL: url.URL{Scheme: u.Scheme, Host: u.Host}}
	e.Lookup = e.addressing(s)
	return e
}

// Endpoint is where the storage is. Without s3Url it is AWS: for amazonaws.com
// minio-go puts the region's own host in its place, by the region of the client.
func (s *Settings) Endpoint() Endpoint {
	switch suffix := awsSuffix(s.Region); {
	case s.S3URL != "":
		return endpointOf(s.S3URL, s)
	case strings.HasPrefix(suffix, "amazonaws.com"):
		return endpointOf("https://s3.amazonaws.com", s)
	default:
		return endpointOf("https://s3."+s.Region+"."+suffix, s)
	}
}

// PlainHTTP tells whether requests to the storage are not encrypted.
func (s *Settings) PlainHTTP() bool { return s.S3URL != "" && s.Endpoint().URL.Scheme == "http" }

// PublicEndpoint is where signed URLs point to.
func (s *Settings) PublicEndpoint() Endpoint {
	if s.PublicURL == "" {
		return s.Endpoint()
	}
	return endpointOf(s.PublicURL, s)
}

// Secure tells whether requests go over TLS.
func (e Endpoint) Secure() bool { return e.URL.Scheme == "https" }

// AWS tells whether the endpoint is one of AWS.
func (e Endpoint) AWS() bool {
	return s3utils.IsAmazonEndpoint(e.URL) || awsRegionOf(e.URL.Hostname()) != ""
}

// String is the address.
func (e Endpoint) String() string { return e.URL.String() }

// addressing decides where the bucket's name goes. A bucket with a dot would
// not match the certificate of *.HOST.
func (e Endpoint) addressing(s *Settings) minio.BucketLookupType {
	switch {
	case s.S3ForcePathStyle || s.Addressing == "path":
		return minio.BucketLookupPath
	case s.Addressing == "virtual":
		return minio.BucketLookupDNS
	case e.Secure() && strings.Contains(s.Bucket, "."):
		return minio.BucketLookupPath
	case hasSuffix(e.URL.Hostname(), ".myqcloud.com", ".myhuaweicloud.com", ".ksyuncs.com"), awsRegionOf(e.URL.Hostname()) != "":
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// EqualParts tells whether the storage refuses multipart uploads whose parts
// differ in size.
func (e Endpoint) EqualParts() bool {
	return hasSuffix(e.URL.Hostname(), ".r2.cloudflarestorage.com")
}

func hasSuffix(text string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(text, suffix) {
			return true
		}
	}
	return false
}
