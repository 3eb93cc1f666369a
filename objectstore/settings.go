package objectstore

import (
	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/download"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/encryption"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
)

type (
	// Account are the settings of who asks which storage.
	Account = account.Settings
	// Requests are the settings of how requests are sent and repeated.
	Requests = client.Settings
	// Uploads are the settings of uploads.
	Uploads = upload.Settings
	// Downloads are the settings of downloads.
	Downloads = download.Settings
	// Encryption are the settings of encryption by the plugin.
	Encryption = encryption.Settings
)

// Settings are the keys of a BackupStorageLocation's config. Those that
// velero-plugin-for-aws has keep their names and their meaning.
type Settings struct {
	Account
	Requests
	Uploads
	Downloads
	Encryption

	Prefix             string `key:"prefix" help:"Set by Velero from spec.objectStorage."`
	SignatureVersion   string `key:"signatureVersion" help:"Accepted for velero-plugin-for-aws, where it has no effect either: signature version 4 is used."`
	EnableSharedConfig bool   `key:"enableSharedConfig" help:"Accepted for velero-plugin-for-aws, where it has no effect either: shared config is always read."`
	ResticRepoPrefix   string `key:"resticRepoPrefix" help:"Read by Velero's file-system backup, not by this plugin."`
	DeleteVersions     bool   `key:"deleteVersions" help:"Delete every version of an object and its delete markers, so that a versioned bucket shrinks. Cannot be undone."`
	BypassGovernance   bool   `key:"bypassGovernanceRetention" help:"With deleteVersions: delete versions locked in GOVERNANCE mode, if the credentials may."`
	WriteProbe         bool   `key:"writeProbe" help:"Write, read and delete a small object under the prefix when the location is opened. Not for locations that are read-only, and not together with an object lock, which would keep it."`
}

// Default returns the settings that hold where a location says nothing.
func Default() Settings {
	return Settings{Account: account.Default(), Requests: client.Default(), Uploads: upload.Default(), Downloads: download.Default()}
}

// parse decodes and checks config. The error names every key that is wrong.
func parse(config map[string]string) (Settings, error) {
	s := Default()
	err := settings.Decode(config, &s)
	if word, set := config["checksumAlgorithm"]; set && word == "" {
		s.ChecksumAlgorithm = "none" // as in velero-plugin-for-aws
	}
	s.CountRetries(config["maxRetries"] != "")
	return s, err
}

// Validate implements settings.Validator: the rules between and beyond the
// fields' types.
func (s *Settings) Validate(p *settings.Problems) {
	s.Account.Validate(p)
	s.Requests.Validate(p)
	s.Uploads.Validate(p, &s.Account)
	s.Encryption.Validate(p)
	if s.SignatureVersion != "" && s.SignatureVersion != "1" && s.SignatureVersion != "4" {
		p.Add("signatureVersion", s.SignatureVersion, "4 (or 1, which velero-plugin-for-aws accepts and ignores as well)")
	}
	p.Needs(s.BypassGovernance, s.DeleteVersions, "bypassGovernanceRetention", "deleteVersions")
	if s.WriteProbe && s.Locks() {
		p.Addf("writeProbe: cannot be used together with objectLockMode or objectLockLegalHold: each probe would leave a locked object")
	}
}
