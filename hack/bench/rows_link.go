package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// linkSize is the size of the object that goes the long way.
const linkSize = 200 * mebibyte

// linkGroups upload and download over a long way.
func linkGroups() []group {
	var all []group
	for _, roundTrip := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond} {
		all = append(all, group{fmt.Sprintf("link %s", roundTrip), func(ctx context.Context, b *bench) ([]row, error) {
			return measureLink(ctx, b, roundTrip)
		}})
	}
	return all
}

func measureLink(ctx context.Context, b *bench, roundTrip time.Duration) ([]row, error) {
	return b.overLink(ctx, roundTrip, func(config map[string]string) ([]row, error) {
		all, err := openAll(config, b.ours, b.peer)
		if err != nil {
			return nil, err
		}
		defer all.close()
		t := transfer{label: fmt.Sprintf("200 MiB, round trip of %s", roundTrip), size: linkSize, count: 1, rounds: b.pick(2, 5)}
		return t.measure(ctx, all)
	})
}

// overLink measures with the config of a location that is far away.
func (b *bench) overLink(ctx context.Context, roundTrip time.Duration, measure func(config map[string]string) ([]row, error)) (rows []row, err error) {
	s3, err := b.server(ctx, servers()[0], false)
	if err != nil {
		return nil, err
	}
	way, err := startLink(ctx, strings.TrimPrefix(s3.Endpoint, "http://"), roundTrip)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, way.close()) }()
	config := location(s3)
	config["s3Url"] = "http://" + way.address()
	return measure(config)
}
