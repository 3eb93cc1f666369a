package pluginserver

import (
	"context"
	"fmt"
	"maps"
	"sync"
)

// instance holds what the last Init of a plugin made. Velero calls Init again
// and again on one process, for every volume of a restore and for every
// location of the provider, while other calls are under way.
type instance[T any] struct {
	name string
	open Open[T]

	initializing sync.Mutex // held while open runs, so that Inits end in order

	mu      sync.RWMutex // guards what follows
	config  map[string]string
	current T
	err     error
}

func newInstance[T any](name string, open Open[T]) *instance[T] {
	return &instance[T]{
		name: name,
		open: open,
		err:  fmt.Errorf("%s was called before Init", name),
	}
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
	if i.has(config) {
		return nil
	}
	made, err := i.open(ctx, config)
	i.swap(config, made, err)
	return err
}

func (i *instance[T]) has(config map[string]string) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.err == nil && maps.Equal(i.config, config)
}

func (i *instance[T]) swap(config map[string]string, made T, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.config, i.current, i.err = maps.Clone(config), made, nil
	if err != nil {
		i.err = fmt.Errorf("%s is not set up, since its last Init failed: %w", i.name, err)
	}
}

// get returns the plugin for one call.
func (i *instance[T]) get(name string) (T, error) {
	if err := i.checkName(name); err != nil {
		var none T
		return none, err
	}
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.current, i.err
}

func (i *instance[T]) checkName(name string) error {
	if name != i.name {
		return fmt.Errorf("no plugin %q in this binary; it holds %q", name, i.name)
	}
	return nil
}
