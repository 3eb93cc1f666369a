package objectstore

import (
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
)

// Settings are the keys of a BackupStorageLocation's config. The first group
// keeps the names and the meaning of velero-plugin-for-aws.
type Settings struct {
	account.Settings

	Prefix string `key:"prefix" help:"Set by Velero from spec.objectStorage."`

	KMSKeyID             string         `key:"kmsKeyId" help:"KMS key for server-side encryption; implies serverSideEncryption: aws:kms."`
	ServerSideEncryption string         `key:"serverSideEncryption" oneof:"AES256,aws:kms,aws:kms:dsse" help:"Server-side encryption of what is written."`
	Tagging              string         `key:"tagging" help:"Tags of what is written, as key1=value1&key2=value2."`
	ChecksumAlgorithm    string         `key:"checksumAlgorithm" help:"Additional checksum that the server verifies and keeps: none, CRC32, CRC32C, SHA1, SHA256, CRC64NVME, or auto: CRC64NVME on AWS, none elsewhere, since many servers refuse the headers. An empty value means none."`
	SignatureVersion     string         `key:"signatureVersion" help:"Accepted for velero-plugin-for-aws, where it has no effect either: signature version 4 is used."`
	EnableSharedConfig   bool           `key:"enableSharedConfig" help:"Accepted for velero-plugin-for-aws, where it has no effect either: shared config is always read."`
	ResticRepoPrefix     string         `key:"resticRepoPrefix" help:"Read by Velero's file-system backup, not by this plugin."`
	StorageClass         string         `key:"storageClass" help:"Storage class of what is written, such as STANDARD_IA. A class that needs a restore before reading is not accepted."`
	ACL                  string         `key:"acl" oneof:"private,bucket-owner-read,bucket-owner-full-control,authenticated-read,aws-exec-read,public-read,public-read-write" help:"Canned ACL of what is written."`
	ObjectLockMode       string         `key:"objectLockMode" oneof:"GOVERNANCE,COMPLIANCE" help:"Object lock of what is written. Velero rewrites velero-backup.json and deletes expired backups, so the bucket must be versioned and the retention shorter than the backups' TTL."`
	ObjectLockRetention  time.Duration  `key:"objectLockRetention" help:"How long after the upload an object stays locked."`
	ObjectLockLegalHold  bool           `key:"objectLockLegalHold" help:"Put a legal hold on what is written."`
	KMSContext           string         `key:"kmsContext" help:"KMS encryption context, as a JSON object of texts."`
	BucketKey            bool           `key:"bucketKey" help:"Use an S3 bucket key with aws:kms, which saves KMS requests."`
	ContentMD5           bool           `key:"contentMD5" help:"Send Content-MD5 with every upload. It is sent without this where the server asks for it or an object lock needs it."`
	PayloadSigning       string         `key:"payloadSigning" oneof:"sha256,unsigned" help:"sha256: the server verifies each body by its signed SHA-256. unsigned: only for storages that cannot, and only with https."`
	PartSize             settings.Bytes `key:"partSize" help:"Size of every part of a multipart upload, from 5MiB to 5GiB; the object may have 10000 parts. Without it: 5MiB, growing with the object up to 5TiB; equal parts of 16MiB on Cloudflare R2."`
	UploadConcurrency    int            `key:"uploadConcurrency" help:"Parts of one object uploaded at a time, at most."`
	UploadMemoryLimit    settings.Bytes `key:"uploadMemoryLimit" help:"Memory for parts under way, over all uploads. An upload may always hold one part, however large."`
	RequestTimeout       time.Duration  `key:"requestTimeout" help:"How long the storage may take to begin its answer."`
	StallTimeout         time.Duration  `key:"stallTimeout" help:"How long a transfer may make no progress."`
	MaxRetries           int            `key:"maxRetries" help:"How often a request that failed for a passing reason is repeated, with growing pauses of up to 8s. After a timeout it is repeated twice at most."`
	ListObjectsVersion   string         `key:"listObjectsVersion" oneof:"auto,1,2" help:"Which S3 call lists objects. auto: the second, and the first where a server does not know the second."`
	RequesterPays        bool           `key:"requesterPays" help:"Say on every request that the requester pays."`
	ExpectedBucketOwner  string         `key:"expectedBucketOwner" help:"AWS account that must own the bucket, or requests fail."`
	DeleteVersions       bool           `key:"deleteVersions" help:"Delete every version of an object and its delete markers, so that a versioned bucket shrinks. Cannot be undone."`
	BypassGovernance     bool           `key:"bypassGovernanceRetention" help:"With deleteVersions: delete versions locked in GOVERNANCE mode, if the credentials may."`
	VerifyDownloads      string         `key:"verifyDownloads" oneof:"auto,always,never" help:"Compare what is read with what was stored. auto: by a checksum that the storage or this plugin has stored with the object, which costs little, and for small objects by the MD5 in the ETag. always: by the MD5 in the ETag too, which halves the speed. never: only the length is compared. Where nothing else tells, an object that was stored in parts is known by its length and ETag alone."`
	WriteProbe           bool           `key:"writeProbe" help:"Write, read and delete a small object under the prefix when the location is opened. Not for locations that are read-only."`
}

// Default returns the settings that hold where a location says nothing.
func Default() Settings {
	return Settings{
		Settings:           account.Default(),
		ChecksumAlgorithm:  "auto",
		PayloadSigning:     "sha256",
		UploadConcurrency:  8,
		UploadMemoryLimit:  35 * settings.MiB,
		RequestTimeout:     time.Minute,
		StallTimeout:       2 * time.Minute,
		MaxRetries:         6,
		ListObjectsVersion: "auto",
		VerifyDownloads:    "auto",
	}
}

// parse decodes and checks config. The error names every key that is wrong.
func parse(config map[string]string) (Settings, error) {
	s := Default()
	err := settings.Decode(config, &s)
	if word, set := config["checksumAlgorithm"]; set && word == "" {
		s.ChecksumAlgorithm = "none" // as in velero-plugin-for-aws
	}
	return s, err
}
