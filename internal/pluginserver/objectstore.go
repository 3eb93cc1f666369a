package pluginserver

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
)

// objectStoreServer joins Velero's ObjectStore service to an ObjectStore.
type objectStoreServer struct {
	generated.UnimplementedObjectStoreServer
	stores    *instance[ObjectStore]
	downloads *downloads
	log       logrus.FieldLogger
}

// Init implements generated.ObjectStoreServer.
func (s *objectStoreServer) Init(ctx context.Context, req *generated.ObjectStoreInitRequest) (*generated.Empty, error) {
	if err := s.stores.init(ctx, req.Plugin, req.Config); err != nil {
		return nil, failure(err)
	}
	return &generated.Empty{}, nil
}

var errNoBody = errors.New("put object: the body is empty, and with an empty body Velero sends neither bucket nor key; nothing was stored")

// PutObject implements generated.ObjectStoreServer.
func (s *objectStoreServer) PutObject(stream generated.ObjectStore_PutObjectServer) error {
	body, err := openBody(stream)
	if errors.Is(err, io.EOF) {
		return failure(errNoBody)
	}
	if err != nil {
		return failure(err)
	}
	if err := s.put(stream.Context(), body); err != nil {
		s.letVeleroFinish(body, err)
		return failure(err)
	}
	return stream.SendAndClose(&generated.Empty{})
}

// put catches a panic itself, because Velero must finish after that, too.
func (s *objectStoreServer) put(ctx context.Context, body *uploadBody) (err error) {
	defer recoverInto(&err)
	store, err := s.stores.get(body.first.Plugin)
	if err != nil {
		return err
	}
	if err := store.PutObject(ctx, body.first.Bucket, body.first.Key, body); err != nil {
		return err
	}
	return body.requireEnd()
}

// letVeleroFinish reads what Velero still sends. While Velero is sending it
// takes the end of the call for a bare EOF and never sees the error.
func (s *objectStoreServer) letVeleroFinish(body *uploadBody, cause error) {
	where := logrus.Fields{"bucket": body.first.Bucket, "key": body.first.Key}
	if !body.drain(drainLimit) {
		s.log.WithError(cause).WithFields(where).Error("Upload failed, and Velero may report it as EOF")
	}
}

// ObjectExists implements generated.ObjectStoreServer.
func (s *objectStoreServer) ObjectExists(ctx context.Context, req *generated.ObjectExistsRequest) (*generated.ObjectExistsResponse, error) {
	store, err := s.stores.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	exists, err := store.ObjectExists(ctx, req.Bucket, req.Key)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.ObjectExistsResponse{Exists: exists}, nil
}

// GetObject implements generated.ObjectStoreServer.
func (s *objectStoreServer) GetObject(req *generated.GetObjectRequest, stream generated.ObjectStore_GetObjectServer) error {
	store, err := s.stores.get(req.Plugin)
	if err != nil {
		return failure(err)
	}
	if err := s.downloads.serve(store, req, stream); err != nil {
		return failure(err)
	}
	return nil
}

// ListCommonPrefixes implements generated.ObjectStoreServer.
func (s *objectStoreServer) ListCommonPrefixes(ctx context.Context, req *generated.ListCommonPrefixesRequest) (*generated.ListCommonPrefixesResponse, error) {
	store, err := s.stores.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	prefixes, err := store.ListCommonPrefixes(ctx, req.Bucket, req.Prefix, req.Delimiter)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.ListCommonPrefixesResponse{Prefixes: prefixes}, nil
}

// ListObjects implements generated.ObjectStoreServer.
func (s *objectStoreServer) ListObjects(ctx context.Context, req *generated.ListObjectsRequest) (*generated.ListObjectsResponse, error) {
	store, err := s.stores.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	keys, err := store.ListObjects(ctx, req.Bucket, req.Prefix)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.ListObjectsResponse{Keys: keys}, nil
}

// DeleteObject implements generated.ObjectStoreServer.
func (s *objectStoreServer) DeleteObject(ctx context.Context, req *generated.DeleteObjectRequest) (*generated.Empty, error) {
	store, err := s.stores.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	if err := store.DeleteObject(ctx, req.Bucket, req.Key); err != nil {
		return nil, failure(err)
	}
	return &generated.Empty{}, nil
}

// CreateSignedURL implements generated.ObjectStoreServer.
func (s *objectStoreServer) CreateSignedURL(ctx context.Context, req *generated.CreateSignedURLRequest) (*generated.CreateSignedURLResponse, error) {
	store, err := s.stores.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	url, err := store.CreateSignedURL(ctx, req.Bucket, req.Key, time.Duration(req.Ttl))
	if err != nil {
		return nil, failure(err)
	}
	return &generated.CreateSignedURLResponse{Url: url}, nil
}
