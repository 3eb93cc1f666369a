package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

const defaultDriverName = "hostpath.longshore.dev"

// config is what the command line says; README.md has the meaning of each flag.
type config struct {
	socket         string
	data           string
	nodeID         string
	name           string
	topology       topologyConfig
	zonalSnapshots bool
	secrets        requiredSecrets
	control        string
	callLog        string
	logSecrets     bool
	showVersion    bool
}

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

const usageHead = `csidriver is a CSI driver for tests: volumes are folders, snapshots are copies.

  csidriver --endpoint unix:///path/csi.sock --data DIR --node-id NODE [flags]
  csidriver books --data DIR [--call-log FILE]

Flags:
`

func parseConfig(args []string, stdout io.Writer) (config, error) {
	var cfg config
	var endpoint, zones string
	flags := newFlagSet("csidriver")
	flags.StringVar(&endpoint, "endpoint", "", "unix socket to serve on, as unix:///path or a path (required)")
	flags.StringVar(&cfg.data, "data", "", "folder of the storage, made when missing (required)")
	flags.StringVar(&cfg.nodeID, "node-id", "", "ID of the node this process runs on (required)")
	flags.StringVar(&cfg.name, "name", defaultDriverName, "CSI name of the driver")
	flags.Func("topology", "topology of this node as key=value; repeatable, the first key is the zone key", cfg.topology.addSegment)
	flags.StringVar(&zones, "zones", "", "values of the zone key to make volumes in, separated by commas (default: this node's)")
	flags.BoolVar(&cfg.zonalSnapshots, "zonal-snapshots", false, "restore a snapshot only in its volume's zone")
	flags.Func("require-secret", "secret that calls must carry, as op:key=value; repeatable, op is one of "+strings.Join(secretOperations(), ", "), cfg.secrets.add)
	flags.StringVar(&cfg.control, "control", "", "control file (default DATA/control.json)")
	flags.StringVar(&cfg.callLog, "call-log", "", "call log (default DATA/calls.log)")
	flags.BoolVar(&cfg.logSecrets, "log-secrets", false, "write the values of secrets into the call log")
	flags.BoolVar(&cfg.showVersion, "version", false, "print the version")
	if err := parseFlags(flags, args, stdout); err != nil || cfg.showVersion {
		return cfg, err
	}
	cfg.socket = socketPath(endpoint)
	cfg.topology.setZones(zones)
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return config{}, &usageError{err}
	}
	return cfg, nil
}

func newFlagSet(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	return flags
}

// parseFlags prints the usage to stdout and returns flag.ErrHelp when asked
// for it; a mistake is a usageError.
func parseFlags(flags *flag.FlagSet, args []string, stdout io.Writer) error {
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usageHead)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return err
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return &usageError{err}
	}
	return nil
}

func socketPath(endpoint string) string {
	path := strings.TrimPrefix(endpoint, "unix:")
	return strings.TrimPrefix(path, "//")
}

func (c *config) setDefaults() {
	if c.control == "" {
		c.control = filepath.Join(c.data, "control.json")
	}
	if c.callLog == "" {
		c.callLog = filepath.Join(c.data, "calls.log")
	}
}

func (c *config) validate() error {
	var errs []error
	required := func(name, value string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("--%s is required", name))
		}
	}
	required("endpoint", c.socket)
	required("data", c.data)
	required("node-id", c.nodeID)
	required("name", c.name)
	if !c.topology.enabled() && len(c.topology.zones) > 0 {
		errs = append(errs, errors.New("--zones needs --topology, whose first key is the zone key"))
	}
	if !c.topology.enabled() && c.zonalSnapshots {
		errs = append(errs, errors.New("--zonal-snapshots needs --topology"))
	}
	if slices.Contains(c.topology.zones, "") {
		errs = append(errs, errors.New("--zones has an empty zone"))
	}
	return errors.Join(errs...)
}
