package upload

import (
	"sync/atomic"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// signing decides which bodies are signed by their SHA-256. Over https, a storage that
// answers a body with the checksum that was sent has computed it from what arrived
// (Amazon S3 User Guide, "Checking object integrity"). Later ones carry that checksum
// alone, which saves both sides the SHA-256.
type signing struct {
	byChecksum bool // whether a checksum may take the place of the SHA-256
	storage    atomic.Int32
}

// What is known of the storage.
const (
	untold int32 = iota
	checks       // it has answered a body with its checksum
	asksForSHA256
)

func newSigning(s *Settings, a *account.Settings, checksum minio.ChecksumType) signing {
	verified := a.Endpoint().Secure() && !a.InsecureSkipTLSVerify
	return signing{byChecksum: s.PayloadSigning == "auto" && verified && checksum != minio.ChecksumNone}
}

// learn takes note of an answer to a body.
func (s *signing) learn(checked bool) {
	if !checked {
		s.storage.Store(asksForSHA256)
		return
	}
	s.storage.CompareAndSwap(untold, checks)
}

// signsBody tells whether the next body is signed.
func (u *upload) signsBody() bool {
	return u.settings.SignsBodies() && (!u.signing.byChecksum || u.signing.storage.Load() != checks)
}

// proven has put send a body. If it is not signed and the storage refuses it or does
// not answer with its checksum, it is sent again, signed, and so are all later ones.
func (u *upload) proven(c *content, put func() (stored minio.ObjectPart, err error)) error {
	stored, err := put()
	checked := u.answered(c, stored)
	if err == nil {
		u.signing.learn(checked)
	}
	if c.sha256 != "" || checked || !u.settings.SignsBodies() || (err != nil && !refusesUnsigned(err)) {
		return err
	}
	u.client.Log.WithError(err).WithField("key", u.key).Warn("The storage does not take a body by its checksum alone; bodies are signed by their SHA-256 from now on")
	u.signing.learn(false)
	c.sign()
	_, err = put()
	return err
}

// refusesUnsigned tells whether err may be the answer to a body that is not signed: a
// bucket policy can forbid it (condition s3:x-amz-content-sha256).
func refusesUnsigned(err error) bool {
	switch s3err.KindOf(err) {
	case s3err.Forbidden, s3err.Credentials, s3err.Unsupported, s3err.Unknown:
		return true
	}
	return false
}
