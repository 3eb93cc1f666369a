package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/settings"
)

// group is a table of the reference: the settings that belong together.
type group struct {
	title string
	keys  []setting
}

// setting is a key, with the value that it has in the annotated location.
type setting struct {
	key    string
	sample string
	set    bool // not commented out there
}

// byVelero are the keys that Velero writes; nobody sets them in config.
const byVelero = "Set by Velero"

var objectStoreGroups = []group{
	{"Where the storage is", []setting{
		{"s3Url", "https://s3.example.com", true}, {"region", "us-east-1", true}, {"publicUrl", "https://storage.example.com", false},
		{"addressing", "path", false}, {"s3ForcePathStyle", "true", false}, {"proxyUrl", "http://proxy.example.com:3128", false},
		{"insecureSkipTLSVerify", "true", false}, {"dualStack", "true", false}, {"accelerate", "true", false},
	}},
	{"Credentials", []setting{
		{"profile", "backups", false}, {"roleArn", "arn:aws:iam::123456789012:role/velero", false}, {"externalId", "cluster-one", false},
		{"sessionName", "", false}, {"anonymous", "true", false}, {"expectedBucketOwner", "123456789012", false}, {"requesterPays", "true", false},
	}},
	{"How objects are stored", []setting{
		{"storageClass", "STANDARD_IA", false}, {"tagging", "team=platform&cluster=one", false}, {"acl", "bucket-owner-full-control", false},
		{"deleteVersions", "true", false}, {"bypassGovernanceRetention", "true", false},
	}},
	{"Object lock", []setting{
		{"objectLockMode", "COMPLIANCE", false}, {"objectLockRetention", "168h", false}, {"objectLockLegalHold", "true", false},
	}},
	{"Encryption by the plugin", []setting{
		{"encryptionRecipients", "age1h4szm4hs8uza6xlfqxdjt246q4zfhltmgxddrrfnxn00zr9njd8sp3dt3v", false},
		{"encryptionIdentitySecret", "longshore-encryption/identities", false},
		{"encryptionIdentityFile", "/keys/identities", false}, {"encryptionRequired", "true", false},
	}},
	{"Encryption by the storage", []setting{
		{"serverSideEncryption", "aws:kms", false}, {"kmsKeyId", "1234abcd-12ab-34cd-56ef-1234567890ab", false},
		{"kmsContext", `{"cluster":"one"}`, false}, {"bucketKey", "true", false},
		{"customerKeyEncryptionFile", "/keys/storage-key", false}, {"customerKeyEncryptionSecret", "storage-key/key", false},
	}},
	{"Time limits and retries", []setting{
		{"requestTimeout", "", false}, {"stallTimeout", "", false}, {"retryTimeout", "", false}, {"maxRetries", "10", false},
	}},
	{"Transfers and memory", []setting{
		{"partSize", "16MiB", false}, {"uploadConcurrency", "", false}, {"uploadMemoryLimit", "", false},
	}},
	{"Checksums, and servers that differ", []setting{
		{"verifyDownloads", "", false}, {"checksumAlgorithm", "", false}, {"contentMD5", "true", false}, {"payloadSigning", "", false},
		{"listObjectsVersion", "", false}, {"writeProbe", "true", false},
	}},
	{"Accepted for others", []setting{
		{"signatureVersion", "4", false}, {"enableSharedConfig", "true", false}, {"resticRepoPrefix", "s3:https://s3.example.com/backups/restic", false},
	}},
	{byVelero, []setting{{"bucket", "", false}, {"prefix", "", false}, {"caCert", "", false}, {"credentialsFile", "", false}}},
}

var snapshotterGroups = []group{
	{"Which volumes, and with which class", []setting{
		{"drivers", "ebs.csi.aws.com,rbd.csi.ceph.com", false}, {"snapshotClass", "ebs", false}, {"snapshotClass.*", "ebs", false},
		{"waitFor", "", false},
		{"groups", "", false},
	}},
	{"Restores", []setting{
		{"storageClass.*", "new-fast", false}, {"storageClass.", "standard", false}, {"driver.*", "ebs.csi.eks.amazonaws.com", false},
		{"stagingNamespace", "longshore", false},
	}},
	{"Trust in snapshot IDs", []setting{
		{"signingKeySecret", "longshore-signing/keys", false}, {"requireSignature", "true", false}, {"snapshotSecrets", "rook-ceph/rook-csi-rbd-provisioner", false},
	}},
	{"Time limits", []setting{
		{"snapshotTimeout", "20m", true}, {"restoreTimeout", "", false}, {"deleteTimeout", "", false}, {"errorGracePeriod", "", false},
	}},
	{"Leftovers, and drivers that are gone", []setting{{"sweepAfter", "", false}, {"abandonedDrivers", "old.csi.example.com", false}}},
	{"Load on the Kubernetes API", []setting{{"kubeQPS", "", false}, {"kubeBurst", "", false}}},
	{byVelero, []setting{{"credentialsFile", "", false}}},
}

// families are the names with which keys such as snapshotClass.* are shown.
var families = map[string]string{
	"snapshotClass.*": "snapshotClass.ebs.csi.aws.com",
	"storageClass.*":  "storageClass.old-fast",
	"driver.*":        "driver.ebs.csi.aws.com",
}

// tables writes the groups as tables, each with its heading.
func tables(groups []group, rows map[string]settings.Row) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "\n### %s\n\n", g.title)
		var own []settings.Row
		for _, s := range g.keys {
			own = append(own, rows[s.key])
		}
		b.WriteString(settings.Table(own))
	}
	return b.String()
}

// annotated writes the groups as the config of a location: every key with the
// first sentence about it, commented out unless the location needs it.
func annotated(groups []group, rows map[string]settings.Row) string {
	var b strings.Builder
	for _, g := range groups {
		if g.title == byVelero {
			continue
		}
		fmt.Fprintf(&b, "\n    ## %s\n", g.title)
		for _, s := range g.keys {
			for _, line := range wrapped(firstSentence(rows[s.key].Help)) {
				b.WriteString("    # " + line + "\n")
			}
			off := "#"
			if s.set {
				off = ""
			}
			fmt.Fprintf(&b, "    %s%s: %s\n", off, cmp.Or(families[s.key], s.key), quoted(s.value(rows)))
		}
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// value is the sample, or the default where that shows enough.
func (s setting) value(rows map[string]settings.Row) string {
	return cmp.Or(s.sample, rows[s.key].Default)
}

// quoted writes a value as YAML, which would read some of them as no string.
func quoted(value string) string {
	if strings.Trim(value, "0123456789.") == "" || value == "true" || strings.HasPrefix(value, "{") {
		return "'" + value + "'"
	}
	return value
}

// firstSentence ends at the first full stop before a space.
func firstSentence(help string) string {
	if first, _, more := strings.Cut(help, ". "); more {
		return first + "."
	}
	return help
}

// wrapped breaks a sentence into lines of about 80 characters.
func wrapped(sentence string) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(sentence) {
		if line != "" && len(line)+1+len(word) > 80 {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
