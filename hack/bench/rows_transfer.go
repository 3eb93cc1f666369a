package main

import (
	"context"
	"fmt"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// transfer is how objects of one size are moved.
type transfer struct {
	label  string
	size   int64
	count  int
	rounds int
	// processor says that processor time is told: it takes a large object, since
	// the system counts it in hundredths of a second.
	processor bool
}

func transfers(quick, largest bool) []transfer {
	all := []transfer{
		{label: "1 MiB", size: mebibyte, count: 30, rounds: 5},
		{label: "100 MiB", size: 100 * mebibyte, count: 1, rounds: 7},
		{label: "1 GiB", size: gibibyte, count: 1, rounds: 5, processor: true},
	}
	if !quick {
		if !largest {
			all[2].rounds = 3
		}
		return all
	}
	all[0].rounds, all[1].rounds, all[2].rounds = 3, 3, 3
	if !largest {
		return all[:2]
	}
	return all
}

// transferGroups moves objects up and down over each kind of server and scheme.
func transferGroups(quick bool) []group {
	var all []group
	for _, kind := range servers() {
		for _, secure := range []bool{false, true} {
			largest := kind.Name == servers()[0].Name && !secure
			all = append(all, group{"transfer " + serverName(kind, secure), func(ctx context.Context, b *bench) ([]row, error) {
				return measureTransfers(ctx, b, kind, secure, transfers(quick, largest))
			}})
		}
	}
	return all
}

func measureTransfers(ctx context.Context, b *bench, kind testbed.S3Server, secure bool, sizes []transfer) ([]row, error) {
	s3, err := b.server(ctx, kind, secure)
	if err != nil {
		return nil, err
	}
	all, err := openAll(location(s3), b.ours, b.peer)
	if err != nil {
		return nil, err
	}
	defer all.close()
	// The protocol's ceiling is told with the largest objects alone: the plugin
	// that stores nothing gives nothing else.
	null, err := openAll(nil, b.ceiling)
	if err != nil {
		return nil, err
	}
	defer null.close()
	var rows []row
	for _, t := range sizes {
		who := all
		if t.size == gibibyte {
			who = append(who[:len(who):len(who)], null...)
		}
		measured, err := t.measure(ctx, who)
		if err != nil {
			return nil, err
		}
		rows = append(rows, measured...)
	}
	return rows, nil
}

func (t transfer) measure(ctx context.Context, all sessions) ([]row, error) {
	rows := []row{
		{Name: "PutObject " + t.label, Unit: "MiB/s", Higher: true},
		{Name: "GetObject " + t.label, Unit: "MiB/s", Higher: true},
	}
	if t.processor {
		rows = append(rows,
			row{Name: "processor time of the plugin, put", Unit: "s/GiB"},
			row{Name: "processor time of the plugin, get", Unit: "s/GiB"})
	}
	for _, s := range all {
		if err := s.put("warm", mebibyte); err != nil {
			return nil, err
		}
	}
	return inTurn(ctx, t.rounds, all, rows, func(s *session, _ int) ([]float64, error) { return t.take(s) })
}

// take puts the objects, gets them, and removes them again.
func (t transfer) take(s *session) ([]float64, error) {
	put, err := s.clock(func() error { return t.each(func(key string) error { return s.put(key, t.size) }) })
	if err != nil {
		return nil, err
	}
	get, err := s.clock(func() error { return t.each(func(key string) error { return s.get(key, t.size) }) })
	if err != nil {
		return nil, err
	}
	volume := float64(t.size) * float64(t.count)
	figures := []float64{put.perSecond(volume / mebibyte), get.perSecond(volume / mebibyte)}
	if t.processor {
		figures = append(figures, put.processor.Seconds()*gibibyte/volume, get.processor.Seconds()*gibibyte/volume)
	}
	return figures, t.each(func(key string) error { return s.store.DeleteObject(bucket, key) })
}

func (t transfer) each(do func(key string) error) error {
	for i := range t.count {
		if err := do(fmt.Sprintf("transfer/%d", i)); err != nil {
			return err
		}
	}
	return nil
}
