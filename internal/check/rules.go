package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/objectstore"
)

// unseen is the end of a step whose question the storage does not answer.
func (o *objectStore) unseen(err error, action string) error {
	switch objectstore.KindOf(err) {
	case objectstore.KindForbidden:
		return Skip("not seen: the credentials lack " + action + ", which is not needed")
	case objectstore.KindUnsupported:
		return Skip("not seen: the storage does not support the request")
	}
	what, _ := o.d.Explain(err)
	return Skip("not seen: " + what)
}

func (o *objectStore) versioning(ctx context.Context) (string, error) {
	status, err := o.d.Versioning(ctx)
	if err != nil {
		return "", o.unseen(err, "s3:GetBucketVersioning")
	}
	o.versioned = status != ""
	if status != "Enabled" {
		return "off", nil
	}
	rules, err := o.d.Lifecycle(ctx)
	removed := o.d.Settings().DeleteVersions
	for _, r := range rules {
		removed = removed || r.FormerAfter > 0
	}
	if err == nil && !removed {
		return "", Warn("on, and nothing removes former versions: deleted backups go on taking up space",
			"add a lifecycle rule with NoncurrentVersionExpiration to the bucket, or set deleteVersions: \"true\"")
	}
	return "on", nil
}

func (o *objectStore) objectLock(ctx context.Context) (string, error) {
	wanted := o.ObjectStoreConfig()["objectLockMode"]
	lock, err := o.d.ObjectLock(ctx)
	switch {
	case err != nil && wanted == "":
		return "", o.unseen(err, "s3:GetBucketObjectLockConfiguration")
	case err != nil:
		return "", o.explain(err, "s3:GetBucketObjectLockConfiguration")
	case wanted != "" && !lock.Enabled:
		return "", Fail("the location sets objectLockMode, and the bucket cannot lock objects",
			"enable object lock for the bucket, which many storages allow only when it is made, or remove objectLockMode")
	case !lock.Enabled:
		return "off", nil
	case lock.Default != "":
		return "", Warn("new objects are locked in "+lock.Default+", those of this check included", o.lockHint())
	}
	return "on, with no lock for new objects by default", nil
}

func (o *objectStore) lockHint() string {
	if o.d.Settings().DeleteVersions {
		return "keep the lock shorter than the backups' TTL, or deleting expired backups fails"
	}
	return "a backup that Velero deletes takes up space until its lock has ended and a lifecycle rule removes its versions"
}

func (o *objectStore) lifecycle(ctx context.Context) (string, error) {
	rules, err := o.d.Lifecycle(ctx)
	if err != nil {
		return "", o.unseen(err, "s3:GetLifecycleConfiguration")
	}
	return judgeRules(rules)
}

func judgeRules(rules []objectstore.Rule) (string, error) {
	aborts := false
	for _, r := range rules {
		aborts = aborts || r.AbortsAfter > 0
		switch {
		case r.ExpiresAfter > 0:
			return "", deletes(r.ID, fmt.Sprintf("after %d days", r.ExpiresAfter))
		case r.ExpiresOn != "":
			return "", deletes(r.ID, "on "+r.ExpiresOn)
		case r.ArchivesTo != "":
			return "", Warn(fmt.Sprintf("rule %q moves objects to %s, where they cannot be read before somebody restores them there: a restore by Velero fails", r.ID, r.ArchivesTo),
				"restrict the rule to another prefix, or to a class that can be read at once, such as GLACIER_IR")
		}
	}
	if !aborts {
		return "no rule removes what broken uploads leave; AbortIncompleteMultipartUpload after a day would", nil
	}
	return "a rule removes what broken uploads leave", nil
}

func deletes(rule, when string) error {
	return Warn(fmt.Sprintf("rule %q deletes objects %s: backups lose objects without Velero's knowledge", rule, when),
		"leave deletion to Velero (a backup's TTL): restrict the rule to another prefix")
}

// objectActions are those of a policy that are about objects, not the bucket.
var objectActions = []string{"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}

// statement is the least statement of an IAM policy that allows the actions. It
// has no blank, so that it stays on one line to be copied.
func statement(bucket, prefix string, actions ...string) string {
	var resources []string
	for _, resource := range []struct {
		name    string
		objects bool
	}{
		{"arn:aws:s3:::" + strings.Trim(bucket, "/"), false},
		{"arn:aws:s3:::" + strings.TrimSuffix(strings.Trim(bucket, "/")+"/"+strings.Trim(prefix, "/"), "/") + "/*", true},
	} {
		if slices.ContainsFunc(actions, func(action string) bool { return slices.Contains(objectActions, action) == resource.objects }) {
			resources = append(resources, fmt.Sprintf("%q", resource.name))
		}
	}
	var quoted []string
	for _, action := range actions {
		quoted = append(quoted, fmt.Sprintf("%q", action))
	}
	return fmt.Sprintf(`{"Effect":"Allow","Action":[%s],"Resource":[%s]}`, strings.Join(quoted, ","), strings.Join(resources, ","))
}
