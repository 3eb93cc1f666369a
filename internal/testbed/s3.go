package testbed

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const s3Region = "us-east-1"

// S3Options choose an S3 server. The zero value is a VersityGW on http.
type S3Options struct {
	// Name names the process and its folder, "s3" if empty; it is unique in the bed.
	Name string
	// Server is the kind of server, VersityGateway if empty.
	Server S3Server
	// TLS serves https with a certificate of an own CA for 127.0.0.1 and localhost.
	TLS bool
	// Versioning makes bucket versioning available where a server needs to be told.
	Versioning bool
	// Disk, if not 0, is the size in bytes of a file system that holds the objects,
	// for a server that takes MetaDir. Restarting the server empties it.
	Disk int64
	// Buckets are created before StartS3 returns.
	Buckets []string
}

// S3 is an S3 server under way. Stop, Start and Restart keep its port and data.
type S3 struct {
	*Process
	Server S3Server
	// Endpoint is http(s)://127.0.0.1:PORT.
	Endpoint string
	Region   string
	// AccessKey and SecretKey are random.
	AccessKey, SecretKey string
	// CA is the PEM of the CA of an https server, and CAFile the file with it;
	// empty for http.
	CA     []byte
	CAFile string
	// CredentialsFile is an AWS shared credentials file with a [default] profile.
	CredentialsFile string
	// Dir is the folder of the server's data.
	Dir string
}

// StartS3 starts an S3 server and waits until it answers.
func (b *Bed) StartS3(ctx context.Context, o S3Options) (*S3, error) {
	if o.Name == "" {
		o.Name = "s3"
	}
	if o.Server.Name == "" {
		o.Server = VersityGateway
	}
	part, err := path(ctx, b.progress, o.Server.Part)
	if err != nil {
		return nil, err
	}
	s, run, err := b.prepareS3(o)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	run.Part = part
	if o.Server.Prepare != nil {
		if err := o.Server.Prepare(ctx, b, run); err != nil {
			return nil, fmt.Errorf("start %s: %w", o.Name, err)
		}
	}
	s.Process, err = b.startOnPorts(ctx, o.Name, 1+o.Server.Ports, func(ports []int) Command {
		run.Address, run.Ports = address(ports[0]), ports[1:]
		s.Endpoint = scheme(o.TLS) + "://" + run.Address
		if o.Server.Outside != nil {
			b.removeOnClose(o.Server.Outside(run)...)
		}
		args, env := o.Server.Command(run)
		return Command{Path: filepath.Join(part, o.Server.Program), Args: args, Env: env, Disk: o.disk(run), Ready: s.answers}
	})
	if err != nil {
		return nil, err
	}
	for _, bucket := range o.Buckets {
		if err := s.CreateBucket(ctx, bucket); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (o S3Options) disk(r S3Run) *Disk {
	if o.Disk == 0 {
		return nil
	}
	return &Disk{Dir: r.DataDir, Size: o.Disk}
}

// prepareS3 makes all that the server needs but its port.
func (b *Bed) prepareS3(o S3Options) (*S3, S3Run, error) {
	s := &S3{Server: o.Server, Region: s3Region, AccessKey: "AK" + rand.Text()[:18], SecretKey: rand.Text()}
	run := S3Run{Name: o.Name, Region: s.Region, AccessKey: s.AccessKey, SecretKey: s.SecretKey}
	var err error
	if s.Dir, err = b.folder(o.Name, "data"); err != nil {
		return nil, run, err
	}
	run.DataDir = s.Dir
	if o.Versioning {
		if run.VersionsDir, err = b.folder(o.Name, "versions"); err != nil {
			return nil, run, err
		}
	}
	if o.TLS {
		if run.CertDir, err = b.folder(o.Name, "certs"); err != nil {
			return nil, run, err
		}
		if s.CA, err = certificates(run.CertDir); err != nil {
			return nil, run, err
		}
		s.CAFile = filepath.Join(run.CertDir, "ca.crt")
	}
	if o.Disk > 0 {
		if run.MetaDir, err = b.folder(o.Name, "meta"); err != nil {
			return nil, run, err
		}
	}
	s.CredentialsFile = filepath.Join(b.dir, o.Name, "credentials")
	return s, run, WriteCredentials(s.CredentialsFile, s.AccessKey, s.SecretKey)
}

// answers is the probe: a server may listen, and call itself healthy, before it
// can serve its user.
func (s *S3) answers(ctx context.Context) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	_, err = client.ListBuckets(ctx)
	return err
}

// WriteCredentials writes an AWS shared credentials file with a [default] profile.
func WriteCredentials(file, accessKey, secretKey string) error {
	text := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n", accessKey, secretKey)
	return os.WriteFile(file, []byte(text), 0o600)
}

func scheme(tls bool) string {
	if tls {
		return "https"
	}
	return "http"
}

// Client is a client with the server's first user, for tests that look behind
// the plugin's back.
func (s *S3) Client() (*minio.Core, error) {
	endpoint, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	return minio.NewCore(endpoint.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure:       endpoint.Scheme == "https",
		Region:       s.Region,
		BucketLookup: minio.BucketLookupPath,
		Transport:    transport,
		MaxRetries:   1,
	})
}

func (s *S3) transport() (http.RoundTripper, error) {
	transport, err := minio.DefaultTransport(s.CA != nil)
	if err != nil || s.CA == nil {
		return transport, err
	}
	// The transport has no roots of its own where SSL_CERT_FILE is not set.
	roots := x509.NewCertPool()
	transport.TLSClientConfig.RootCAs = roots
	if !roots.AppendCertsFromPEM(s.CA) {
		return nil, fmt.Errorf("the CA of %s is no certificate", s.Endpoint)
	}
	return transport, nil
}

// CreateBucket makes a bucket and does nothing if it is there.
func (s *S3) CreateBucket(ctx context.Context, name string) error {
	client, err := s.Client()
	if err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	switch there, err := client.BucketExists(ctx, name); {
	case err != nil:
		return fmt.Errorf("create bucket %s: look for it: %w", name, err)
	case there:
		return nil
	}
	if err := client.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: s.Region}); err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	return nil
}

// Keys lists the keys of a bucket below a prefix, for tests that count what is
// left behind.
func (s *S3) Keys(ctx context.Context, bucket, prefix string) ([]string, error) {
	client, err := s.Client()
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", bucket, err)
	}
	keys := []string{}
	for object := range client.ListObjectsIter(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if object.Err != nil {
			return nil, fmt.Errorf("list bucket %s: %w", bucket, object.Err)
		}
		keys = append(keys, object.Key)
	}
	return keys, ctx.Err()
}

// LocationConfig returns the config of a BackupStorageLocation for this server:
// region, s3Url, s3ForcePathStyle.
func (s *S3) LocationConfig() map[string]string {
	return map[string]string{"region": s.Region, "s3Url": s.Endpoint, "s3ForcePathStyle": "true"}
}
