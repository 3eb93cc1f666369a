package pluginserver

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/sirupsen/logrus"
)

// NewLogger returns a logger whose lines Velero shows as its own, with level
// and fields: one JSON object a line, in the names that hclog uses, since
// go-plugin reads them in Velero. w is standard error; standard output belongs
// to the handshake.
//
// Velero counts what is logged during a backup: an error makes the backup
// PartiallyFailed, a warning is shown in its summary. What is returned as an
// error is therefore not logged as one.
func NewLogger(w io.Writer, level logrus.Level) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(level)
	log.SetFormatter(&logrus.JSONFormatter{
		DisableTimestamp: true, // Velero adds its own
		FieldMap:         logrus.FieldMap{logrus.FieldKeyMsg: "@message"},
	})
	log.AddHook(veleroFields{})
	return log
}

// veleroFields adds to each line what Velero looks for: the level in hclog's
// word for it, and the place of the log statement with a mark that it is ours
// (Velero, pkg/util/logging).
type veleroFields struct{}

// Levels implements logrus.Hook.
func (veleroFields) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (veleroFields) Fire(entry *logrus.Entry) error {
	entry.Data["@level"] = hclogLevel(entry.Level)
	entry.Data["@logSourceSetBy"] = "plugin"
	entry.Data["logSource"] = logSource()
	return nil
}

func hclogLevel(level logrus.Level) string {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return "error"
	case logrus.WarnLevel:
		return "warn"
	default:
		return level.String()
	}
}

// logSource returns file and line of the innermost frame outside logrus and
// this file's hook.
func logSource() string {
	counters := make([]uintptr, 16)
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters)])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "sirupsen/logrus.") {
			return fmt.Sprintf("%s:%d", shortPath(frame.File), frame.Line)
		}
		if !more {
			return ""
		}
	}
}

// shortPath cuts a file's path down to what stands below this module.
func shortPath(file string) string {
	const module = "longshore-dev/velero-plugin"
	if _, after, found := strings.Cut(file, module); found {
		if _, below, found := strings.Cut(after, "/"); found { // after "@version", if any
			return below
		}
	}
	return file
}
