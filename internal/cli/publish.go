package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/longshore-dev/velero-plugin/internal/metrics"
)

// publishing says where the metrics of a run go.
type publishing struct {
	file, push string
}

func (p *publishing) add(flags *pflag.FlagSet) {
	flags.StringVar(&p.file, "metrics", "", "write metrics of the run to this `file`, for the textfile collector of node_exporter")
	flags.StringVar(&p.push, "push", "", "push metrics of the run to the Pushgateway at this `URL`")
}

// validate finds what would keep the metrics of a long run from being written in the
// end.
func (p *publishing) validate() error {
	if p.file != "" {
		if info, err := os.Stat(filepath.Dir(p.file)); err != nil || !info.IsDir() {
			return fmt.Errorf("--metrics %s: its folder is not there", p.file)
		}
		if info, err := os.Stat(p.file); err == nil && info.IsDir() {
			return fmt.Errorf("--metrics %s is a folder; name a file in it", p.file)
		}
	}
	if p.push != "" {
		if _, err := metrics.ParseTarget(p.push, "job"); err != nil {
			return fmt.Errorf("--push: %w", err)
		}
	}
	return nil
}

// publish writes and pushes the gauges of a job, as far as it was asked for. group are
// the labels that tell its runs from those over something else.
func (p *publishing) publish(ctx context.Context, job string, group []metrics.Label, gauges []metrics.Gauge) error {
	var errs []error
	if p.file != "" {
		errs = append(errs, metrics.WriteFile(p.file, gauges))
	}
	if p.push != "" {
		target, err := metrics.ParseTarget(p.push, job, group...)
		if err == nil {
			err = target.Push(ctx, gauges)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
