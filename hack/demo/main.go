// Command demo shows the plugin's main job to a person: on real parts, started
// here, Velero backs up an application, loses it and brings it back.
//
// With KEEP=1 in the environment it leaves everything running and says how to
// play with it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/story"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Getenv("KEEP") != "")
	stop()
	os.Exit(code)
}

func run(ctx context.Context, keep bool) int {
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	defer bed.Close()
	out := check.TerminalOf(os.Stdout)
	printer := check.NewPrinter(out)
	printer.NameWidth = 36
	told := &story.Story{Bed: bed}
	recovery, err := tell(ctx, told, out, printer)
	if err != nil {
		bed.Keep()
		fmt.Fprintf(out, "\n%s\n%s\nLogs are in %s\n", out.Red("It failed."), out.Wrap(err.Error()), bed.Dir()+"/logs")
		return 1
	}
	fmt.Fprintf(out, "\n%s\n%s", out.Green("It works."), out.Wrap("Velero restored the application from S3 and CSI snapshots, every byte of it, in "+seconds(recovery)+"."))
	if keep {
		linger(ctx, told)
	} else {
		fmt.Fprint(out, next)
	}
	return 0
}

const next = `
What to try next: the same with KEEP=1, which leaves everything running, or
your own storage (README.md says how to install in a cluster):

  make build
  bin/velero-plugin-longshore check objectstore --bucket BUCKET --config s3Url=URL
`

// tell goes through the steps and prints a line for each as it happens. It returns
// how long the restore took.
func tell(ctx context.Context, told *story.Story, out check.Terminal, printer *check.Printer) (recovery time.Duration, err error) {
	title := out.Wrap("Velero loses and regains an application through Longshore")
	fmt.Fprintf(out, "\n%s\n%s\n", out.Bold(strings.TrimSpace(title)), out.Wrap("All programs are real and run on this machine, in "+told.Bed.Dir()))
	for _, step := range told.Steps() {
		told.Progress = &below{printer: printer}
		printer.Begin(step.Name)
		began := time.Now()
		detail, err := step.Do(ctx)
		result := check.Result{Step: step.Name, Outcome: check.OK, Took: time.Since(began), Detail: detail}
		if err != nil {
			result.Outcome, result.Detail = check.Failed, ""
		}
		printer.End(result)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", step.Name, err)
		}
		if step.Name == story.Restoring {
			recovery = result.Took
		}
	}
	return recovery, nil
}

// below writes what a step tells meanwhile into the lines below the step's name.
type below struct {
	printer *check.Printer
	once    sync.Once
}

// Write implements io.Writer.
func (b *below) Write(text []byte) (int, error) {
	b.once.Do(b.printer.Announce)
	return os.Stdout.Write(text)
}

// linger keeps everything running until the person ends it.
func linger(ctx context.Context, told *story.Story) {
	velero, err := testbed.Velero.Path(ctx)
	if err != nil {
		return
	}
	fmt.Printf(`
Everything still runs. In another terminal:

  export KUBECONFIG=%s
  alias velero=%s
  velero backup create mine --include-namespaces %s --wait
  velero backup describe mine --details
  kubectl get volumesnapshots,volumesnapshotcontents,pvc,pv -A

Files of the volumes: %s
Objects:              %s
Logs:                 %s

Ctrl-C ends it all and removes it.
`, told.Cluster.Kubeconfig, velero, story.Namespace, told.Cluster.Storage, told.S3.Dir, told.Bed.Dir()+"/logs")
	<-ctx.Done()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
