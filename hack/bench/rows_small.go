package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// smallSize is the size of a small object, in bytes; a backup has several of
// this order.
const smallSize = 4 * kibibyte

// smallGroups put and get small objects over each kind of server and scheme.
func smallGroups() []group {
	var all []group
	for _, kind := range servers() {
		for _, secure := range []bool{false, true} {
			all = append(all, group{"small " + serverName(kind, secure), func(ctx context.Context, b *bench) ([]row, error) {
				return measureSmall(ctx, b, kind, secure)
			}})
		}
	}
	return all
}

func measureSmall(ctx context.Context, b *bench, kind testbed.S3Server, secure bool) ([]row, error) {
	s3, err := b.server(ctx, kind, secure)
	if err != nil {
		return nil, err
	}
	all, err := openAll(location(s3), b.ours, b.peer)
	if err != nil {
		return nil, err
	}
	defer all.close()
	rows := []row{
		{Name: "PutObject 4 KiB, one at once", Unit: "1/s", Higher: true},
		{Name: "PutObject 4 KiB, 8 at once", Unit: "1/s", Higher: true},
		{Name: "GetObject 4 KiB, one at once", Unit: "1/s", Higher: true},
		{Name: "processor time of the plugin, 4 KiB put", Unit: "ms"},
	}
	count := b.pick(400, 1000)
	return inTurn(ctx, b.pick(3, 7), all, rows, func(s *session, _ int) ([]float64, error) { return s.small(count) })
}

// small puts count objects alone, puts them 8 at once, and gets them.
func (s *session) small(count int) ([]float64, error) {
	put := func(key string) error { return s.put(key, smallSize) }
	get := func(key string) error { return s.get(key, smallSize) }
	alone, err := s.clock(func() error { return atOnce(1, count, put) })
	if err != nil {
		return nil, err
	}
	together, err := s.clock(func() error { return atOnce(8, count, put) })
	if err != nil {
		return nil, err
	}
	got, err := s.clock(func() error { return atOnce(1, count, get) })
	if err != nil {
		return nil, err
	}
	n := float64(count)
	return []float64{alone.perSecond(n), together.perSecond(n), got.perSecond(n),
		1000 * (alone.processor + together.processor).Seconds() / (2 * n)}, nil
}

// atOnce does count pieces of work, several at a time.
func atOnce(workers, count int, do func(key string) error) error {
	var running errgroup.Group
	running.SetLimit(workers)
	for i := range count {
		running.Go(func() error { return do(fmt.Sprintf("small/%d", i)) })
	}
	return running.Wait()
}

// measureListing lists the backups of a large bucket, as Velero does each minute.
func measureListing(ctx context.Context, b *bench) ([]row, error) {
	prefixes := b.pick(2000, 10_000)
	return b.overServers(ctx, func(s3 *testbed.S3, all sessions) ([]row, error) {
		if err := fill(ctx, s3, "many", prefixes); err != nil {
			return nil, err
		}
		rows := []row{
			{Name: fmt.Sprintf("listing of %d prefixes, %s", prefixes, s3.Server.Name), Unit: "s"},
			{Name: fmt.Sprintf("processor time of the plugin, listing of %d prefixes, %s", prefixes, s3.Server.Name), Unit: "s"},
		}
		return inTurn(ctx, b.pick(3, 7), all, rows, func(s *session, _ int) ([]float64, error) {
			var found []string
			took, err := s.clock(func() (err error) {
				found, err = s.store.ListCommonPrefixes(bucket, "many/", "/")
				return err
			})
			if err == nil && len(found) != prefixes {
				err = fmt.Errorf("%d prefixes instead of %d", len(found), prefixes)
			}
			return []float64{took.wall.Seconds(), took.processor.Seconds()}, err
		})
	})
}

// measureDeletion deletes a backup's objects, one call each, as Velero does.
func measureDeletion(ctx context.Context, b *bench) ([]row, error) {
	count := b.pick(300, 1000)
	return b.overServers(ctx, func(s3 *testbed.S3, all sessions) ([]row, error) {
		rows := []row{{Name: fmt.Sprintf("deletion of %d objects, %s", count, s3.Server.Name), Unit: "s"}}
		return inTurn(ctx, b.pick(3, 7), all, rows, func(s *session, _ int) ([]float64, error) {
			if err := fill(ctx, s3, "deleted", count); err != nil {
				return nil, err
			}
			took, err := s.clock(func() error { return s.deleteAll("deleted/", count) })
			return []float64{took.wall.Seconds()}, err
		})
	})
}

func (s *session) deleteAll(prefix string, want int) error {
	keys, err := s.store.ListObjects(bucket, prefix)
	if err != nil {
		return err
	}
	if len(keys) != want {
		return fmt.Errorf("%d objects instead of %d", len(keys), want)
	}
	for _, key := range keys {
		if err := s.store.DeleteObject(bucket, key); err != nil {
			return err
		}
	}
	return nil
}

// overServers measures over http on each kind of server.
func (b *bench) overServers(ctx context.Context, measure func(*testbed.S3, sessions) ([]row, error)) ([]row, error) {
	var rows []row
	for _, kind := range servers() {
		s3, err := b.server(ctx, kind, false)
		if err != nil {
			return nil, err
		}
		all, err := openAll(location(s3), b.ours, b.peer)
		if err != nil {
			return nil, err
		}
		measured, err := measure(s3, all)
		all.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Name, err)
		}
		rows = append(rows, measured...)
	}
	return rows, nil
}

// fill puts one small object under each of count prefixes below a folder, past
// the plugins.
func fill(ctx context.Context, s3 *testbed.S3, folder string, count int) error {
	return fillWith(ctx, s3, folder, count, func(i int) (string, []byte, error) { return fmt.Sprintf("backup-%05d", i), noise[:100], nil })
}

// fillWith is fill for prefixes and contents of one's own.
func fillWith(ctx context.Context, s3 *testbed.S3, folder string, count int, backup func(i int) (name string, content []byte, err error)) error {
	client, err := s3.Client()
	if err != nil {
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	running.SetLimit(16)
	for i := range count {
		running.Go(func() error {
			name, content, err := backup(i)
			if err != nil {
				return err
			}
			key := folder + "/" + name + "/velero-backup.json"
			_, err = client.Client.PutObject(ctx, bucket, key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
			return err
		})
	}
	return running.Wait()
}
