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
	"syscall"
	"time"

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
	progress := &below{}
	told := &story.Story{Bed: bed, Progress: progress}
	started := time.Now()
	if err := tell(ctx, told, progress); err != nil {
		bed.Keep()
		fmt.Printf("\n%s  %v\n\nLogs are in %s\n", red("It failed."), err, bed.Dir()+"/logs")
		return 1
	}
	fmt.Printf("\n%s  The application came back from S3 and CSI snapshots, every byte of it, in a story of %s.\n",
		green("It works."), seconds(time.Since(started)))
	if keep {
		linger(ctx, told)
	} else {
		fmt.Println("\nKEEP=1 make demo leaves everything running, to look at and to play with.")
	}
	return 0
}

// tell goes through the steps and prints a line for each as it happens.
func tell(ctx context.Context, told *story.Story, progress *below) error {
	fmt.Printf("\n%s\nAll programs are real and run on this machine, in %s\n\n", bold("Velero loses and regains an application through Longshore"), told.Bed.Dir())
	for i, step := range told.Steps() {
		title := fmt.Sprintf("%3d  %-36s", i+1, step.Name)
		fmt.Print(title)
		began := time.Now()
		detail, err := step.Do(ctx)
		took := seconds(time.Since(began))
		if progress.wrote() {
			fmt.Print(title)
		}
		if err != nil {
			fmt.Printf("%s %8s\n", red("✗"), took)
			return fmt.Errorf("%s: %w", step.Name, err)
		}
		fmt.Printf("%s %8s   %s\n", green("✓"), took, detail)
	}
	return nil
}

// below writes what a step tells meanwhile into the lines below the step's title.
type below struct{ began bool }

// Write implements io.Writer.
func (b *below) Write(text []byte) (int, error) {
	if !b.began {
		fmt.Println()
		b.began = true
	}
	return os.Stdout.Write(text)
}

// wrote tells whether anything was written since it was asked last.
func (b *below) wrote() bool {
	began := b.began
	b.began = false
	return began
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

The files of the volumes are in %s, the objects in %s,
the logs in %s.

Ctrl-C ends it all and removes it.
`, told.Cluster.Kubeconfig, velero, story.Namespace, told.Cluster.Storage, told.S3.Dir, told.Bed.Dir()+"/logs")
	<-ctx.Done()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func bold(text string) string  { return style("1", text) }
func green(text string) string { return style("32", text) }
func red(text string) string   { return style("31", text) }

// style colours text for a terminal, unless NO_COLOR is set or nobody looks.
func style(code, text string) string {
	info, err := os.Stdout.Stat()
	if os.Getenv("NO_COLOR") != "" || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
