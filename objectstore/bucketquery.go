package objectstore

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// elementLimit is how many tags a page may hold. A page of 1000 keys has some
// 30 000; each costs memory when it is read.
const elementLimit = 500_000

// query asks the bucket with GET and reads the answer into a struct. root is the
// name of the answer's root element. minio-go's own listings take no context, or
// no continuation, and fail on a date that nobody needs.
func (s *Store) query(ctx context.Context, bucket string, values url.Values, root string, into any) error {
	req, err := s.queryRequest(ctx, bucket, values)
	if err != nil {
		return err
	}
	resp, err := s.http.RoundTrip(req)
	if err != nil {
		return err
	}
	var document bytes.Buffer
	if _, err := document.ReadFrom(resp.Body); err != nil {
		return err
	}
	return readPage(document.Bytes(), root, into)
}

func (s *Store) queryRequest(ctx context.Context, bucket string, values url.Values) (*http.Request, error) {
	// minio-go tells where a bucket is only by the address of a signed URL.
	address, err := s.locator.Presign(ctx, http.MethodGet, bucket, "", time.Minute, nil)
	if err != nil {
		return nil, err
	}
	address.RawQuery = strings.ReplaceAll(values.Encode(), "+", "%20")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(payloadHeader, emptySHA256)
	if s.settings.Anonymous {
		return req, nil
	}
	value, err := s.creds.GetWithContext(&credentials.CredContext{Context: ctx})
	if err != nil {
		return nil, err
	}
	return signer.SignV4(*req, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, s.region), nil
}

func readPage(document []byte, root string, into any) error {
	if name := rootOf(document); !strings.HasPrefix(name, root) {
		return notXML(document, root, nil)
	}
	if n := bytes.Count(document, []byte("<")); n > elementLimit {
		return faultf(KindNotS3, "the answer holds %d tags; at most 1000 entries were asked for", n)
	}
	if err := newDecoder(document).Decode(into); err != nil {
		return notXML(document, root, err)
	}
	return nil
}
