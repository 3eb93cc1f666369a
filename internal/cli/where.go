package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// where says where a location is described, and how to tell of it. All commands
// that are about a location share these flags.
type where struct {
	kubeconfig, context, namespace string
	file                           string
	pairs                          []string
	output                         string
	debug                          bool
}

func (w *where) add(flags *pflag.FlagSet) {
	flags.StringVar(&w.kubeconfig, "kubeconfig", "", "kubeconfig `file`; without it the pod's own cluster, KUBECONFIG or ~/.kube/config")
	flags.StringVar(&w.context, "context", "", "`context` in the kubeconfig")
	flags.StringVarP(&w.namespace, "namespace", "n", kube.Namespace(), "Velero's `namespace`")
	flags.StringVarP(&w.file, "file", "f", "", "YAML `file` with the location in place of one in the cluster; - reads standard input")
	flags.StringArrayVar(&w.pairs, "config", nil, "`key=value` of the location's config, repeatable; without a NAME or a file it is all there is")
	flags.BoolVar(&w.debug, "debug", false, "log what is done to standard error")
}

// addOutput is for the commands that can tell a program.
func (w *where) addOutput(flags *pflag.FlagSet) {
	flags.StringVarP(&w.output, "output", "o", "text", "`format`: text or json")
}

func (w *where) validate() error {
	if w.output != "" && w.output != "text" && w.output != "json" {
		return fmt.Errorf("-o %q is not accepted; it takes text or json", w.output)
	}
	return wantsName("-n", w.namespace, "a namespace", validation.IsDNS1123Label(w.namespace))
}

// wantsName refuses the value of a flag that Kubernetes would not take for a name.
func wantsName(flag, value, of string, problems []string) error {
	if len(problems) > 0 {
		return fmt.Errorf("%s %q is not accepted; it takes the name of %s", flag, value, of)
	}
	return nil
}

// log is for what the packages have to say, which a person asks for.
func (w *where) log(stderr io.Writer) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	if w.debug {
		log.SetOutput(stderr)
		log.SetLevel(logrus.DebugLevel)
	}
	return log
}

func (w *where) cluster() (*check.Cluster, error) {
	config, err := kube.Config(w.kubeconfig, w.context)
	if err != nil {
		return nil, fmt.Errorf("%w; name a cluster by --kubeconfig or --context", err)
	}
	return check.NewCluster(config, w.namespace)
}

// find reads the location, with the --config pairs on top of it.
func (w *where) find(ctx context.Context, kind check.Kind, name string) (*check.Location, error) {
	pairs, err := check.ParsePairs(w.pairs)
	if err != nil {
		return nil, err
	}
	var found *check.Location
	switch {
	case w.file != "":
		found, err = w.fromFile(kind, name)
	case w.described(name):
		return check.FromFlags(kind, pairs), nil
	default:
		found, err = w.fromCluster(ctx, kind, name)
	}
	if err != nil {
		return nil, err
	}
	found.Override(kind, pairs)
	return found, nil
}

// described tells whether a file or flags describe the location of that name, and no
// cluster is needed for it.
func (w *where) described(name string) bool { return w.file != "" || (name == "" && len(w.pairs) > 0) }

func (w *where) fromFile(kind check.Kind, name string) (*check.Location, error) {
	file := os.Stdin
	if w.file != "-" {
		var err error
		if file, err = os.Open(filepath.Clean(w.file)); err != nil {
			return nil, unreadable("--file", w.file, err)
		}
		defer file.Close()
	}
	found, err := check.ReadFile(file, kind, name)
	if errors.As(err, new(*fs.PathError)) {
		return nil, unreadable("--file", w.file, err)
	}
	if err != nil {
		return nil, fmt.Errorf("--file %s: %w", w.file, err)
	}
	return found, nil
}

// unreadable is the error of a file that a flag names.
func unreadable(flag, file string, err error) error {
	return fmt.Errorf("%s %s: %w; name a file that is there and may be read", flag, file, reason(err))
}

func (w *where) fromCluster(ctx context.Context, kind check.Kind, name string) (*check.Location, error) {
	cluster, err := w.cluster()
	if err != nil {
		return nil, fmt.Errorf("%w, or describe the location by --file or --config", err)
	}
	found, err := cluster.Find(ctx, kind, name)
	return found, unreached(err)
}

// unreached says what to do about a cluster that does not answer.
func unreached(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*net.OpError)) {
		return fmt.Errorf("%w; see whether the Kubernetes API answers (kubectl get --raw /readyz), and whether --kubeconfig and --context name the right cluster", err)
	}
	return err
}

// progress shows a person that something is under way; the lines of a log show
// that, too.
func (w *where) progress(stderr io.Writer, doing string) (end func()) {
	if w.debug {
		return func() {}
	}
	return check.TerminalOf(stderr).Progress(doing)
}

// parse reads flags and at most one name. done tells that the help was asked for
// and written.
func parse(command string, flags *pflag.FlagSet, args []string, help string, stdout io.Writer) (name string, done bool, err error) {
	done, err = parseFlags(command, flags, args, help, stdout)
	if err == nil && flags.NArg() > 1 {
		err = fmt.Errorf("one location at most, not %s", strings.Join(flags.Args(), " "))
	}
	return flags.Arg(0), done, err
}

// accepted says what a flag takes whose value is none of its type.
func accepted(err error) error {
	takes := map[string]string{"duration": "a time such as 90s, 30m or 26h", "bool": "true or false"}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) && takes[invalid.GetFlag().Value.Type()] != "" {
		return fmt.Errorf("--%s %q is not accepted; it takes %s", invalid.GetFlag().Name, invalid.GetValue(), takes[invalid.GetFlag().Value.Type()])
	}
	return err
}

// helpWidth is the width that help texts are written for, in characters.
const helpWidth = 80

// parseFlags is parse for a command with arguments of its own.
func parseFlags(command string, flags *pflag.FlagSet, args []string, help string, stdout io.Writer) (done bool, err error) {
	flags.SortFlags = false
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	switch err = flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		if collect(stdout, help, flags) {
			return true, nil
		}
		fmt.Fprintf(stdout, "%s\n%s\n", help, strings.TrimRight(flags.FlagUsagesWrapped(helpWidth), "\n"))
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%w; see velero-plugin-longshore %s --help", accepted(err), command)
	}
	return false, nil
}
