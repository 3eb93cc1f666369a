package pluginserver

import (
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
)

// Flags is what a plugin honours of the Velero server's own arguments, all of
// which Velero passes on. The rest is ignored.
type Flags struct {
	LogLevel logrus.Level // --log-level, info unless given
	Features []string     // --features, separated by commas
}

// ParseFlags reads args, without the program's name. It never fails: an
// argument or value it does not know is Velero's business.
func ParseFlags(args []string) Flags {
	flags := Flags{LogLevel: logrus.InfoLevel}
	if level, err := logrus.ParseLevel(flagValue(args, "log-level")); err == nil {
		flags.LogLevel = level
	}
	flags.Features = strings.FieldsFunc(flagValue(args, "features"), func(r rune) bool { return r == ',' })
	return flags
}

// Has tells whether Velero runs with the feature.
func (f Flags) Has(feature string) bool { return slices.Contains(f.Features, feature) }

// flagValue returns the value of the last "--name value" or "--name=value".
func flagValue(args []string, name string) string {
	value := ""
	for i, arg := range args {
		if after, found := strings.CutPrefix(arg, "--"+name+"="); found {
			value = after
		}
		if arg == "--"+name && i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}
