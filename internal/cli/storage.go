package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// storageFlags say which backup storage location is meant, and what to put in place
// of what it says itself.
type storageFlags struct {
	where
	bucket, prefix  string
	credentialsFile string
	caCert          string
}

func (s *storageFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&s.bucket, "bucket", "", "`bucket` in place of the location's")
	flags.StringVar(&s.prefix, "prefix", "", "`prefix` in place of the location's")
	flags.StringVar(&s.credentialsFile, "credentials-file", "", "AWS credentials `file` in place of the location's credential")
	flags.StringVar(&s.caCert, "cacert", "", "PEM `file` with the CA of the storage, in place of the location's")
}

// location reads the location of that name with all that it names. Whoever gets
// it calls its Forget in the end.
func (s *storageFlags) location(ctx context.Context, name string, stderr io.Writer) (*check.Location, error) {
	defer s.progress(stderr, "reading the location")()
	found, err := s.find(ctx, check.BackupStorage, name)
	if err != nil {
		return nil, err
	}
	if err := s.override(found); err != nil {
		return nil, err
	}
	if err := s.complete(ctx, found); err != nil {
		return nil, errors.Join(err, found.Forget())
	}
	return found, nil
}

// withSecrets has the Secrets that a location's config names read from the cluster that
// the flags name.
func (s *storageFlags) withSecrets(ctx context.Context) context.Context {
	cluster, none := s.cluster()
	return objectstore.WithSecrets(ctx, func(ctx context.Context, name, key string) (value []byte, err error) {
		if err = none; err == nil {
			value, err = cluster.Secret(ctx, name, key)
		}
		if err != nil {
			return nil, fmt.Errorf("%w; where the cluster is out of reach, --config encryptionIdentityFile=FILE or customerKeyEncryptionFile=FILE takes the key from a file", err)
		}
		return value, nil
	})
}

// override puts what the flags say in place of what the location says.
func (s *storageFlags) override(l *check.Location) error {
	if s.bucket != "" {
		l.Bucket = s.bucket
	}
	if s.prefix != "" {
		l.Prefix = s.prefix
	}
	if s.caCert != "" {
		content, err := os.ReadFile(filepath.Clean(s.caCert))
		if err != nil {
			return unreadable("--cacert", s.caCert, err)
		}
		l.SetCACert(string(content))
	}
	if s.credentialsFile != "" {
		l.CredentialsFile = s.credentialsFile
	}
	return nil
}

// complete fetches what only a cluster has. A location that the flags or a file
// describe may do without one.
func (s *storageFlags) complete(ctx context.Context, l *check.Location) error {
	if s.file == "" && l.FromCommandLine() {
		return nil
	}
	cluster, err := s.cluster()
	if err != nil {
		return l.Complete()
	}
	err = errors.Join(cluster.ReadDefaults(ctx, check.BackupStorage, l), cluster.ReadSecrets(ctx, l))
	if err != nil && s.file != "" && l.Complete() == nil {
		return nil // the file stands by itself
	}
	return unreached(err)
}
