package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/download"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/encryption"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// State is how an object is stored.
type State = encryption.State

// The states of an object.
const (
	StatePlain   = encryption.Plain
	StatePresent = encryption.Present
	StateFormer  = encryption.Former
)

// RewrapOptions are what of Rewrap a person decides.
type RewrapOptions struct {
	// SealPlain has objects encrypted too that are not yet, and named that do not
	// say which object they are, whatever encryptionRequired says.
	SealPlain bool
	// ToPlain has encrypted objects decrypted, and nothing encrypted.
	ToPlain bool
	// DryRun has nothing written.
	DryRun bool
}

// wanted tells whether an object in that state is to be rewritten.
func (o RewrapOptions) wanted(state State) bool {
	if o.ToPlain {
		return state == StateFormer || state == StatePresent
	}
	return state == StateFormer || (state == StatePlain && o.SealPlain)
}

// Rewrapped is what Rewrap found and did.
type Rewrapped struct {
	Was    State // "" where it could not be told
	Size   int64 // of what was stored, in bytes
	Wanted bool  // it is to be rewritten
	Done   bool  // it was
}

// Rewrap encrypts the object under key again, to exactly the present public keys of
// the location, unless it is already; or it decrypts it, if that is what the options
// say. It never touches the disk and holds no more than an upload does.
//
// Until the new object is complete the old one stays. Where there is an error, the new
// one may have taken its place: if the kind is NotConfirmed, if the storage's last
// answer was lost, or if the object could not be looked at afterwards. Replaced is only
// an object whose content was authenticated to its end; what replaces it was decrypted
// again on its way, if it is encrypted, and is proven to be stored as each upload is,
// and by being read. Where something else writes or deletes the object meanwhile, what
// it did stays, and the error has the kind Changed; see [upload.Uploader.Replace] for
// how sure that is.
func (s *Store) Rewrap(ctx context.Context, bucket, key string, o RewrapOptions) (Rewrapped, error) {
	begun := time.Now()
	r, err := s.rewrap(ctx, bucket, key, o)
	if err != nil {
		return r, s.failed(s3err.OpRewrap, bucket, key, err)
	}
	s.client.Summary("Looked at object", bucket, key, r.Size, begun, logrus.Fields{"was": r.Was, "rewrapped": r.Done})
	return r, nil
}

// RequireKeys returns an error unless the location has the keys that Rewrap needs, and
// none that contradict what is wanted: a location that encrypts stays encrypted.
func (s *Store) RequireKeys(o RewrapOptions) error {
	switch {
	case o.ToPlain && s.keys.Encrypts():
		return s3err.Errorf(s3err.Invalid, "the location has encryptionRecipients, so what is written next would be encrypted again; to leave encryption, remove encryptionRecipients and encryptionRequired from it first, and keep the private keys")
	case o.ToPlain && !s.keys.Decrypts():
		return s3err.Errorf(s3err.Invalid, "the location has no private key (encryptionIdentitySecret, encryptionIdentityFile), so nothing can be decrypted")
	case !o.ToPlain && !s.keys.Encrypts():
		return s3err.Errorf(s3err.Invalid, "the location has no encryptionRecipients, so there is nothing to encrypt to")
	}
	return nil
}

func (s *Store) rewrap(ctx context.Context, bucket, key string, o RewrapOptions) (Rewrapped, error) {
	if err := s.RequireKeys(o); err != nil {
		return Rewrapped{}, err
	}
	object, err := s.downloader.Open(ctx, bucket, key)
	if err != nil {
		return Rewrapped{}, err
	}
	defer object.Close()
	keys := s.keys
	if o.SealPlain {
		keys = keys.WithPlain()
	}
	content, state, err := keys.Examine(s.nameOf(key), object)
	r := Rewrapped{Was: state, Size: object.Size(), Wanted: err == nil && o.wanted(state)}
	if !r.Wanted || o.DryRun {
		return r, err
	}
	err = s.replace(ctx, bucket, key, object, content, o.ToPlain)
	r.Done = err == nil
	return r, err
}

// replacement is what is stored in the place of an object.
type replacement interface {
	io.Reader
	// Err is the error by which reading failed, nil for none.
	Err() error
	// Sum is the SHA-256 of the content, once all of it is read.
	Sum() []byte
}

// replacementOf reads content as it is to be stored.
func (s *Store) replacementOf(key string, content io.Reader, toPlain bool) (replacement, error) {
	if toPlain {
		return encryption.NewDecrypted(content)
	}
	return s.keys.Reencrypt(s.nameOf(key), content)
}

// replace puts content in the place of the object that it is from.
func (s *Store) replace(ctx context.Context, bucket, key string, old *download.Reader, content io.Reader, toPlain bool) error {
	stored, err := s.replacementOf(key, content, toPlain)
	if err != nil {
		return err
	}
	if _, err := s.uploader.Replace(ctx, bucket, key, old.ETag(), stored); err != nil {
		if cause := stored.Err(); cause != nil {
			return cause
		}
		return err
	}
	want := StatePresent
	if toPlain {
		want = StatePlain
	}
	err = s.requireContent(ctx, bucket, key, want, stored.Sum())
	if err != nil && s3err.KindOf(err) != s3err.Changed {
		return s3err.Hinted(s3err.NotConfirmed, "read the object: if it does not open, bring back the version before, which a bucket with versions has; and look at the storage before you go on",
			"the object was replaced, and then read to prove it: %s", s3err.Text(err))
	}
	return err
}

// requireContent reads an object to its end, and wants it to be in that state and to
// have content with that SHA-256.
func (s *Store) requireContent(ctx context.Context, bucket, key string, want State, sum []byte) error {
	object, err := s.downloader.Open(ctx, bucket, key)
	if err != nil {
		return err
	}
	defer object.Close()
	content, state, err := s.keys.Examine(s.nameOf(key), object)
	if err != nil {
		return err
	}
	got := sha256.New()
	if _, err := io.Copy(got, content); err != nil {
		return err
	}
	switch {
	case state == want && bytes.Equal(got.Sum(nil), sum):
		return nil
	case state == StatePlain && want == StatePlain:
		return s3err.Errorf(s3err.NotConfirmed, "it has other content")
	case state == StatePlain:
		return s3err.Errorf(s3err.NotConfirmed, "it is not encrypted")
	}
	return s3err.Errorf(s3err.Changed, "something else replaced it meanwhile") // it is authentic
}
