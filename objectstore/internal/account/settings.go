// Package account says where a location's storage is and as whom requests are
// made: endpoint, region, credentials, customer key, and whom to trust.
package account

import "github.com/longshore-dev/velero-plugin/internal/settings"

// Settings are the keys of a location's config that are about this.
type Settings struct {
	Bucket                string          `key:"bucket" help:"Set by Velero from spec.objectStorage. Of an access point on AWS it is the alias, which ends in -s3alias."`
	CACert                string          `key:"caCert" help:"Set by Velero from spec.objectStorage.caCert: PEM certificates that are trusted besides the system's and those of AWS_CA_BUNDLE."`
	Region                string          `key:"region" help:"Region of the bucket. Without it: on AWS the bucket's region is looked up; elsewhere it is taken from the host of s3Url where that shows it, or is us-east-1."`
	S3URL                 string          `key:"s3Url" help:"Address of the storage, http:// or https:// with no path and without the bucket. Without it: AWS. Velero's file-system backup knows the location as S3 only when this is set."`
	PublicURL             string          `key:"publicUrl" help:"Address for signed URLs, where the velero CLI reaches the storage by another name than Velero does."`
	S3ForcePathStyle      bool            `key:"s3ForcePathStyle" help:"The same as addressing: path."`
	CustomerKeyFile       string          `key:"customerKeyEncryptionFile" help:"File with the 32 bytes of an SSE-C key. Needs https. Signed URLs, and so velero backup logs and describe --details, cannot work with SSE-C; the binary's own logs and describe do."`
	CustomerKeySecret     string          `key:"customerKeyEncryptionSecret" help:"The same from a Secret in Velero's namespace, as NAME/KEY."`
	Profile               string          `key:"profile" help:"Profile of the credentials file."`
	CredentialsFile       string          `key:"credentialsFile" help:"AWS credentials file. Velero sets it from spec.credential. The profile in it is then the only source: where it gives no credentials, that is an error. Without it: the file that AWS_SHARED_CREDENTIALS_FILE names, in the same way, which is the Secret of velero install. Without either, or where the file is empty: the chain of the AWS SDK."`
	InsecureSkipTLSVerify bool            `key:"insecureSkipTLSVerify" help:"Trust any certificate of the storage. Never applies to where credentials come from."`
	Addressing            string          `key:"addressing" oneof:"auto,path,virtual" help:"Where the bucket's name goes: into the path or before the host. auto: before the host on AWS, Google, Alibaba and Tencent clouds, otherwise into the path."`
	ProxyURL              settings.Secret `key:"proxyUrl" help:"HTTP, HTTPS or SOCKS5 proxy for this location; none for no proxy. Without it: HTTPS_PROXY, HTTP_PROXY and NO_PROXY."`
	RoleARN               string          `key:"roleArn" help:"Role to assume with the credentials."`
	ExternalID            string          `key:"externalId" help:"External ID for roleArn."`
	SessionName           string          `key:"sessionName" help:"Session name for roleArn."`
	Anonymous             bool            `key:"anonymous" help:"Sign nothing. Without it, missing credentials are an error."`
	DualStack             bool            `key:"dualStack" help:"Use the AWS endpoints that have IPv6."`
	Accelerate            bool            `key:"accelerate" help:"Use AWS transfer acceleration."`
}

// Default returns the settings that hold where a location says nothing.
func Default() Settings {
	return Settings{Addressing: "auto", SessionName: "longshore"}
}
