package s3err

import (
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
)

// Log returns a logger that hands on to log what it is given, redacted and
// cleaned: messages and fields, errors among them.
func (s *Secrets) Log(log logrus.FieldLogger) logrus.FieldLogger {
	clean := logrus.New()
	clean.SetOutput(io.Discard)
	clean.SetFormatter(noFormat{})
	clean.SetLevel(log.WithFields(nil).Logger.GetLevel())
	clean.AddHook(redacting{secrets: s, to: log})
	return clean
}

// redacting is a hook that hands each entry on.
type redacting struct {
	secrets *Secrets
	to      logrus.FieldLogger
}

// Levels implements logrus.Hook.
func (redacting) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (h redacting) Fire(entry *logrus.Entry) error {
	fields := logrus.Fields{}
	for name, value := range entry.Data {
		fields[name] = h.value(value)
	}
	h.to.WithFields(fields).WithTime(entry.Time).Log(entry.Level, h.text(entry.Message))
	return nil
}

// value leaves numbers and booleans as they are, and makes anything else a text.
func (h redacting) value(value any) any {
	switch value := value.(type) {
	case bool, int, int64, uint64, float64:
		return value
	case string:
		return h.text(value)
	case error:
		return h.text(Text(value))
	}
	return h.text(fmt.Sprint(value))
}

func (h redacting) text(text string) string { return h.secrets.Redact(Clean(text, textLimit)) }

// noFormat saves the work of a text that goes nowhere.
type noFormat struct{}

// Format implements logrus.Formatter.
func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }
