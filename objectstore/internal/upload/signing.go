package upload

import (
	"context"
	"sync/atomic"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// signing decides which parts are signed by their SHA-256. Over https, a storage that
// answers a part with the checksum that was sent has computed it from what arrived
// (Amazon S3 User Guide, "Checking object integrity"). Its later parts carry that
// checksum alone, which saves both sides the SHA-256.
type signing struct {
	byChecksum bool // whether a checksum may take the place of the SHA-256
	storage    atomic.Int32
}

// What is known of the storage.
const (
	untold int32 = iota
	checks       // it has answered a part with its checksum
	asksForSHA256
)

func newSigning(s *Settings, a *account.Settings, checksum minio.ChecksumType) signing {
	verified := a.Endpoint().Secure() && !a.InsecureSkipTLSVerify
	return signing{byChecksum: s.PayloadSigning == "auto" && verified && checksum != minio.ChecksumNone}
}

// learn takes note of an answer to a part.
func (s *signing) learn(checked bool) {
	if !checked {
		s.storage.Store(asksForSHA256)
		return
	}
	s.storage.CompareAndSwap(untold, checks)
}

// signsPart tells whether the next part is signed.
func (u *upload) signsPart() bool {
	return u.settings.SignsBodies() && (!u.signing.byChecksum || u.signing.storage.Load() != checks)
}

// sendProven sends a part. If it is not signed and the storage refuses it or does
// not answer with its checksum, it is sent again, signed, and so are all later ones.
func (m *multipart) sendProven(ctx context.Context, p *part, c *content) (minio.ObjectPart, error) {
	sent, err := m.put(ctx, p, c)
	checked := m.answered(c, sent)
	if err == nil {
		m.signing.learn(checked)
	}
	if c.sha256 != "" || checked || !m.settings.SignsBodies() || (err != nil && !refusesUnsigned(err)) {
		return sent, err
	}
	m.client.Log.WithError(err).WithField("part", p.number).Warn("The storage does not take a part by its checksum alone; parts are signed by their SHA-256 from now on")
	m.signing.learn(false)
	c.sign()
	return m.put(ctx, p, c)
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
