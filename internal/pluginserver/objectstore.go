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
	log := s.log.WithError(cause).WithFields(logrus.Fields{"bucket": body.first.Bucket, "key": body.first.Key})
	if !body.drain(drainLimit, log) {
		log.Error("Upload failed, and Velero may report it as EOF")
	}
}

// ObjectExists implements generated.ObjectStoreServer.
func (s *objectStoreServer) ObjectExists(ctx context.Context, req *generated.ObjectExistsRequest) (*generated.ObjectExistsResponse, error) {
	return on(s.stores, req.Plugin, func(store ObjectStore) (*generated.ObjectExistsResponse, error) {
		exists, err := store.ObjectExists(ctx, req.Bucket, req.Key)
		return &generated.ObjectExistsResponse{Exists: exists}, err
	})
}

// GetObject implements generated.ObjectStoreServer.
func (s *objectStoreServer) GetObject(req *generated.GetObjectRequest, stream generated.ObjectStore_GetObjectServer) error {
	_, err := on(s.stores, req.Plugin, func(store ObjectStore) (*generated.Empty, error) {
		return nil, s.downloads.serve(store, req, stream)
	})
	return err
}

// ListCommonPrefixes implements generated.ObjectStoreServer.
func (s *objectStoreServer) ListCommonPrefixes(ctx context.Context, req *generated.ListCommonPrefixesRequest) (*generated.ListCommonPrefixesResponse, error) {
	return on(s.stores, req.Plugin, func(store ObjectStore) (*generated.ListCommonPrefixesResponse, error) {
		prefixes, err := store.ListCommonPrefixes(ctx, req.Bucket, req.Prefix, req.Delimiter)
		return &generated.ListCommonPrefixesResponse{Prefixes: prefixes}, err
	})
}

// ListObjects implements generated.ObjectStoreServer.
func (s *objectStoreServer) ListObjects(ctx context.Context, req *generated.ListObjectsRequest) (*generated.ListObjectsResponse, error) {
	return on(s.stores, req.Plugin, func(store ObjectStore) (*generated.ListObjectsResponse, error) {
		keys, err := store.ListObjects(ctx, req.Bucket, req.Prefix)
		return &generated.ListObjectsResponse{Keys: keys}, err
	})
}

// DeleteObject implements generated.ObjectStoreServer.
func (s *objectStoreServer) DeleteObject(ctx context.Context, req *generated.DeleteObjectRequest) (*generated.Empty, error) {
	return on(s.stores, req.Plugin, func(store ObjectStore) (*generated.Empty, error) {
		return &generated.Empty{}, store.DeleteObject(ctx, req.Bucket, req.Key)
	})
}

// CreateSignedURL implements generated.ObjectStoreServer.
func (s *objectStoreServer) CreateSignedURL(ctx context.Context, req *generated.CreateSignedURLRequest) (*generated.CreateSignedURLResponse, error) {
	return on(s.stores, req.Plugin, func(store ObjectStore) (*generated.CreateSignedURLResponse, error) {
		url, err := store.CreateSignedURL(ctx, req.Bucket, req.Key, time.Duration(req.Ttl))
		return &generated.CreateSignedURLResponse{Url: url}, err
	})
}
