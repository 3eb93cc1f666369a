package objectstore

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
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
	AbortsAfter  int    // days until parts of unfinished uploads are removed, 0 for never
	ExpiresAfter int    // days until objects are removed, 0 for never
	ExpiresOn    string // the date on which they are, or ""
	FormerAfter  int    // days until former versions are removed, 0 for never
	ArchivesTo   string // the class in which objects cannot be read any more, or ""
}

// lifecycle is a bucket's lifecycle configuration, as far as a Rule tells of it.
// minio-go keeps one transition of each rule.
type lifecycle struct {
	Rule []struct {
		ID, Status, Prefix string
		Filter             struct {
			Prefix string
			And    struct{ Prefix string }
		}
		AbortIncompleteMultipartUpload struct{ DaysAfterInitiation int }
		Expiration                     struct {
			Days int
			Date string
		}
		NoncurrentVersionExpiration struct{ NoncurrentDays int }
		Transition                  []struct{ StorageClass string }
	}
}

// Lifecycle returns the bucket's lifecycle rules that may touch the location's
// prefix.
func (d *Diagnosis) Lifecycle(ctx context.Context) ([]Rule, error) {
	found, err := client.Query[lifecycle](ctx, d.client, client.Brief, d.settings.Bucket, url.Values{"lifecycle": {""}}, "LifecycleConfiguration")
	if isUnset(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("read lifecycle", d.settings.Bucket, "", err)
	}
	var rules []Rule
	for _, r := range found.Rule {
		if !strings.EqualFold(r.Status, "Enabled") || !meets(cmp.Or(r.Filter.Prefix, r.Filter.And.Prefix, r.Prefix), d.settings.Prefix) {
			continue
		}
		rule := Rule{
			ID:           r.ID,
			AbortsAfter:  r.AbortIncompleteMultipartUpload.DaysAfterInitiation,
			ExpiresAfter: r.Expiration.Days,
			ExpiresOn:    r.Expiration.Date,
			FormerAfter:  r.NoncurrentVersionExpiration.NoncurrentDays,
		}
		for _, t := range r.Transition {
			if isArchive(t.StorageClass) {
				rule.ArchivesTo = t.StorageClass
			}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// isArchive tells whether an object of the class must be restored before it can
// be read: GLACIER and DEEP_ARCHIVE of AWS, and the archives of other clouds.
func isArchive(class string) bool {
	class = strings.ToUpper(class)
	return class == "GLACIER" || strings.Contains(class, "ARCHIVE")
}

// meets tells whether keys may begin with both prefixes.
func meets(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
