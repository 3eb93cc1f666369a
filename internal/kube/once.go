package kube

import (
	"context"
	"slices"
	"sync"
)

// Once is a client of the same cluster that asks once for each list of what a restore
// is made with: classes, drivers, nodes and ConfigMaps. It is for a run over many
// snapshots, which takes the cluster as it was. Nobody may change what it returns.
func (c *Client) Once() *Client {
	once := *c
	once.ConfigMaps = c.ConfigMaps.once()
	once.Nodes = c.Nodes.once()
	once.StorageClasses = c.StorageClasses.once()
	once.CSIDrivers = c.CSIDrivers.once()
	once.CSINodes = c.CSINodes.once()
	once.VolumeSnapshotClasses = c.VolumeSnapshotClasses.once()
	return &once
}

// answers are what List and Find returned, by what they were asked. An error is not
// kept.
type answers[T Object] struct {
	mu    sync.Mutex
	lists map[string][]T
	found map[string]T
}

func (r Resource[T]) once() Resource[T] {
	r.known = &answers[T]{lists: map[string][]T{}, found: map[string]T{}}
	return r
}

// List returns the objects that have the labels of selector, all if it is "".
func (r Resource[T]) List(ctx context.Context, selector string) ([]T, error) {
	if r.known == nil {
		return r.list(ctx, selector)
	}
	all, err := recall(&r.known.mu, r.known.lists, r.verbs.namespace+"/"+selector, func() ([]T, error) { return r.list(ctx, selector) })
	return slices.Clone(all), err
}

// Find returns the object with that name, nil if there is none.
func (r Resource[T]) Find(ctx context.Context, name string) (T, error) {
	if r.known == nil {
		return r.find(ctx, name)
	}
	return recall(&r.known.mu, r.known.found, r.verbs.namespace+"/"+name, func() (T, error) { return r.find(ctx, name) })
}

// recall answers from memory, or asks and remembers. Those who ask at the same time
// wait for one another.
func recall[V any](mu *sync.Mutex, known map[string]V, key string, ask func() (V, error)) (V, error) {
	mu.Lock()
	defer mu.Unlock()
	if value, asked := known[key]; asked {
		return value, nil
	}
	value, err := ask()
	if err == nil {
		known[key] = value
	}
	return value, err
}
