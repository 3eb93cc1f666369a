package objectstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
)

// unsetCodes are the answers of S3 servers to a question for a configuration
// that a bucket does not have.
var unsetCodes = map[string]bool{
	"NoSuchLifecycleConfiguration":         true,
	"ObjectLockConfigurationNotFoundError": true,
	"NoSuchObjectLockConfiguration":        true,
}

func isUnset(err error) bool {
	return unsetCodes[s3err.CodeOf(err)]
}

// Versioning returns whether the bucket keeps former versions of its objects:
// "Enabled", "Suspended", or "" if it never did.
func (d *Diagnosis) Versioning(ctx context.Context) (string, error) {
	found, err := d.client.GetBucketVersioning(ctx, d.settings.Bucket)
	if err != nil {
		return "", d.failed("read versioning", d.settings.Bucket, "", err)
	}
	return found.Status, nil
}

// Lock is the object lock of a bucket.
type Lock struct {
	Enabled bool   // objects may be locked
	Default string // what new objects are locked with, "GOVERNANCE for 30 days", or ""
}

// ObjectLock returns the bucket's object lock.
func (d *Diagnosis) ObjectLock(ctx context.Context) (Lock, error) {
	enabled, mode, validity, unit, err := d.client.GetObjectLockConfig(ctx, d.settings.Bucket)
	if isUnset(err) {
		return Lock{}, nil
	}
	if err != nil {
		return Lock{}, d.failed("read object lock", d.settings.Bucket, "", err)
	}
	lock := Lock{Enabled: enabled == "Enabled"}
	if mode != nil && validity != nil && unit != nil {
		lock.Default = fmt.Sprintf("%s for %d %s", *mode, *validity, strings.ToLower(string(*unit)))
	}
	return lock, nil
}

// Rule is a lifecycle rule of a bucket that is in force for a location's prefix.
type Rule struct {
	ID           string
	AbortsAfter  int // days until parts of unfinished uploads are removed, 0 for never
	ExpiresAfter int // days until objects are removed, 0 for never
	FormerAfter  int // days until former versions are removed, 0 for never
}

// Lifecycle returns the bucket's lifecycle rules that may touch the location's
// prefix.
func (d *Diagnosis) Lifecycle(ctx context.Context) ([]Rule, error) {
	found, err := d.client.GetBucketLifecycle(ctx, d.settings.Bucket)
	if isUnset(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("read lifecycle", d.settings.Bucket, "", err)
	}
	var rules []Rule
	for _, r := range found.Rules {
		if strings.EqualFold(r.Status, "Enabled") && meets(rulePrefix(r), d.settings.Prefix) {
			rules = append(rules, Rule{
				ID:           r.ID,
				AbortsAfter:  int(r.AbortIncompleteMultipartUpload.DaysAfterInitiation),
				ExpiresAfter: int(r.Expiration.Days),
				FormerAfter:  int(r.NoncurrentVersionExpiration.NoncurrentDays),
			})
		}
	}
	return rules, nil
}

func rulePrefix(r lifecycle.Rule) string {
	for _, prefix := range []string{r.RuleFilter.Prefix, r.RuleFilter.And.Prefix, r.Prefix} {
		if prefix != "" {
			return prefix
		}
	}
	return ""
}

// meets tells whether keys may begin with both prefixes.
func meets(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
