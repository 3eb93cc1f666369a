package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// interruptible returns a context that ends with the first Ctrl-C or SIGTERM, when
// the terminal is closed, or when nobody reads the output any more, as in
// `check | head`. The person is then told what is going on, unless that is ""; a second
// Ctrl-C or SIGTERM ends the process at once.
func interruptible(stderr io.Writer, goingOn string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	// A SIGPIPE that somebody waits for does not end the process.
	wanted := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		wanted = append(wanted, syscall.SIGHUP)
	}
	signal.Notify(signals, wanted...)
	go func() {
		select {
		case <-ctx.Done():
		case got := <-signals:
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			if goingOn != "" {
				fmt.Fprint(stderr, "\n", check.TerminalOf(stderr).Wrap("velero-plugin-longshore: "+why(got)+"; "+goingOn))
			}
			cancel()
		}
	}()
	return ctx, func() {
		cancel()
		signal.Stop(signals)
	}
}

func why(got os.Signal) string {
	if got == syscall.SIGPIPE {
		return "nobody reads the output any more"
	}
	return "interrupted"
}
