package pluginserver

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// instance holds what the last Init of a plugin made. Velero calls Init again
// and again on one process, for every volume of a restore and for every
// location of the provider, while other calls are under way.
type instance[T any] struct {
	name string
	open Open[T]

	initializing sync.Mutex // held while open runs, so that Inits end in order
	last         atomic.Pointer[initialized[T]]
}

// initialized is the outcome of an Init: a plugin, or why there is none.
type initialized[T any] struct {
	config map[string]string
	plugin T
	err    error
}

func newInstance[T any](name string, open Open[T]) *instance[T] {
	i := &instance[T]{name: name, open: open}
	i.last.Store(&initialized[T]{err: fmt.Errorf("%s was called before Init", name)})
	return i
}

// newReady is an instance of a plugin that has no Init.
func newReady[T any](name string, plugin T) *instance[T] {
	i := &instance[T]{name: name}
	i.last.Store(&initialized[T]{plugin: plugin})
	return i
}

// init replaces the plugin by one with this config. With the config it has
// already, it keeps the plugin and thereby its connections. Calls under way go
// on with the plugin they began with. After an Init that failed every call
// fails: it may have been meant for another storage than the one before.
func (i *instance[T]) init(ctx context.Context, name string, config map[string]string) error {
	if err := i.checkName(name); err != nil {
		return err
	}
	i.initializing.Lock()
	defer i.initializing.Unlock()
	if last := i.last.Load(); last.err == nil && maps.Equal(last.config, config) {
		return nil
	}
	plugin, err := i.open(ctx, config)
	next := &initialized[T]{config: maps.Clone(config), plugin: plugin}
	if err != nil {
		next.err = fmt.Errorf("%s is not set up, since its last Init failed: %w", i.name, err)
	}
	i.last.Store(next)
	return err
}

// get returns the plugin for one call.
func (i *instance[T]) get(name string) (T, error) {
	last := i.last.Load()
	if err := i.checkName(name); err != nil {
		return last.plugin, err
	}
	return last.plugin, last.err
}

// on makes a call on the plugin. An error gets the form in which Velero shows it,
// with the place of on's caller.
func on[T, Answer any](i *instance[T], name string, call func(T) (*Answer, error)) (*Answer, error) {
	plugin, err := i.get(name)
	if err != nil {
		return nil, failureAt(1, err)
	}
	answer, err := call(plugin)
	if err != nil {
		return nil, failureAt(1, err)
	}
	return answer, nil
}

func (i *instance[T]) checkName(name string) error {
	if name != i.name {
		return fmt.Errorf("no plugin %q in this binary; it holds %q", name, i.name)
	}
	return nil
}
