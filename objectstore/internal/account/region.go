package account

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// DefaultRegion is signed for where nothing says otherwise.
const DefaultRegion = "us-east-1"

// vendorRegions finds the region in the hosts of storages that put it there
// and check it.
var vendorRegions = regexp.MustCompile(`^(?:.+\.)?s3[.-]([a-z0-9-]+)\.(?:wasabisys\.com|backblazeb2\.com|(?:io\.)?cloud\.ovh\.net|idrivee2\.com|contabostorage\.com|upcloudobjects\.com)$|^s3\.([a-z]{2}-[a-z]{3})\.scw\.cloud$|^s3\.([a-z0-9-]+)\.cloud-object-storage\.appdomain\.cloud$`)

// regionOfHost returns the region that the host of an address shows, or "".
func regionOfHost(u url.URL) string {
	if region := s3utils.GetRegionFromURL(u); region != "" {
		return region
	}
	host := u.Hostname()
	if region := awsRegionOf(host); region != "" {
		return region
	}
	if hasSuffix(host, ".r2.cloudflarestorage.com", "storage.googleapis.com") {
		return "auto"
	}
	for i, group := range vendorRegions.FindStringSubmatch(host) {
		if i > 0 && group != "" {
			return group
		}
	}
	return ""
}

// FindRegion returns the region to sign for, and what says so. It asks AWS only
// where the location names neither a region nor an address that shows one.
func (s *Settings) FindRegion(ctx context.Context, via http.RoundTripper) (region, source string, err error) {
	e := s.Endpoint()
	if s.Region != "" {
		return s.Region, "by the location's config", nil
	}
	if region := regionOfHost(e.URL); region != "" {
		return region, "by the host of s3Url", nil
	}
	if !e.AWS() || s.Bucket == "" {
		return DefaultRegion, "since nothing says otherwise", nil
	}
	region, err = lookUpRegion(ctx, e, s.Bucket, via)
	return region, "AWS says so", err
}

// lookUpRegion asks AWS where the bucket is. AWS tells anyone, in a header that
// comes with every answer, 403 included.
func lookUpRegion(ctx context.Context, e Endpoint, bucket string, via http.RoundTripper) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, s3err.Errorf(s3err.Timeout, "no answer from %s in 30s", e))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, e.String()+"/"+bucket, nil)
	if err != nil {
		return "", err
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("look up the region of bucket %q: %w; set region in the location's config", bucket, err)
	}
	_ = resp.Body.Close()
	region := resp.Header.Get("X-Amz-Bucket-Region")
	if !awsRegion.MatchString(region) {
		return "", fmt.Errorf("look up the region of bucket %q: %s answered %s and no region; check the bucket's name, or set region in the location's config", bucket, e, resp.Status)
	}
	return region, nil
}

// awsRegion is the form of AWS's regions. Other storages have regions of their
// own.
var awsRegion = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}$`)

// awsSuffix is the domain of AWS's partition that the region is in, by the table
// of the SDK: amazonaws.com for most.
func awsSuffix(region string) string {
	region = stsRegion(region)
	found, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), sts.EndpointParameters{Region: &region})
	if err != nil {
		return "amazonaws.com"
	}
	return strings.TrimPrefix(found.URI.Hostname(), "sts."+region+".")
}

// stsRegion is the region if it may be one of AWS's, and DefaultRegion for all
// others, which STS does not know.
func stsRegion(region string) string {
	if awsRegion.MatchString(region) {
		return region
	}
	return DefaultRegion
}

var awsHost = regexp.MustCompile(`^s3\.(?:dualstack\.)?([a-z0-9-]+)\.(.+)$`)

// awsRegionOf returns the region in a host of AWS that minio-go does not know, or
// "". Those of amazonaws.com it knows.
func awsRegionOf(host string) string {
	found := awsHost.FindStringSubmatch(host)
	if found == nil || !awsRegion.MatchString(found[1]) || strings.HasPrefix(found[2], "amazonaws.com") || awsSuffix(found[1]) != found[2] {
		return ""
	}
	return found[1]
}
