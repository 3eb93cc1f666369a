package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Command is a test that succeeds by the exit status 0. It is given, by variables of
// its environment,
//
//	DRILL_BACKUP      the name of the backup
//	DRILL_NAMESPACE   the namespace to look into; the first one of several
//	DRILL_NAMESPACES  all of them, as ORIGINAL=SCRATCH, separated by commas
type Command []string

// killWait is how long a killed command may hold its output open.
const killWait = 5 * time.Second

func (c Command) run(ctx context.Context, _ *Cluster, p place) (string, error) {
	var out tail
	command := exec.CommandContext(ctx, c[0], c[1:]...)
	command.Env = append(os.Environ(), p.environment()...)
	command.Stdout, command.Stderr = &out, &out
	endTogether(command)
	command.WaitDelay = killWait
	err := command.Run()
	endRest(command)
	var exit *exec.ExitError
	switch {
	case err == nil, ctx.Err() == nil && errors.Is(err, exec.ErrWaitDelay): // it has ended well, and left something running
		return strings.TrimSuffix("succeeds: "+out.last(), ": "), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return "", &failed{strings.TrimSuffix(fmt.Sprintf("%s: %s", exit, out.last()), ": ")}
	}
	return "", err
}

func (p place) environment() []string {
	var pairs []string
	names := slices.Sorted(maps.Keys(p.namespaces))
	for _, name := range names {
		pairs = append(pairs, name+"="+p.namespaces[name])
	}
	return []string{"DRILL_BACKUP=" + p.backup, "DRILL_NAMESPACE=" + p.namespaces[names[0]], "DRILL_NAMESPACES=" + strings.Join(pairs, ",")}
}

// tail keeps the end of what a command writes.
type tail struct{ text []byte }

const longestTail = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if len(t.text) > longestTail {
		t.text = slices.Clone(t.text[len(t.text)-longestTail:])
	}
	return len(p), nil
}

// last is the last line that is not empty.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return clean(lines[len(lines)-1])
}
