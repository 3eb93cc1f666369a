package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Query asks the bucket with GET and reads the answer into a struct T. root is the
// name of the answer's root element. minio-go's own listings take no context, or
// no continuation, and fail on a date that nobody needs.
func Query[T any](ctx context.Context, c *Client, effort Effort, bucket string, values url.Values, root string) (T, error) {
	var answer *T
	err := c.Do(ctx, effort, func(ctx context.Context) error {
		answer = new(T)
		req, err := c.queryRequest(wire.ExpectXML(ctx, root, answer), bucket, values)
		if err != nil {
			return err
		}
		resp, err := c.http.RoundTrip(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	return *answer, err
}

func (c *Client) queryRequest(ctx context.Context, bucket string, values url.Values) (*http.Request, error) {
	address, err := c.locator.Presign(ctx, http.MethodGet, bucket, "", time.Minute, nil)
	if err != nil {
		return nil, err
	}
	address.RawQuery = strings.ReplaceAll(values.Encode(), "+", "%20")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(wire.SHA256Header, wire.EmptySHA256)
	if c.Account.Anonymous {
		return req, nil
	}
	value, err := c.Credentials.GetWithContext(&credentials.CredContext{Context: ctx})
	if err != nil {
		return nil, err
	}
	return signer.SignV4(*req, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, c.Region), nil
}
