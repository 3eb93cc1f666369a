package account

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// fileHint is the advice for a credentials file that cannot be used.
const fileHint = "it must hold the lines [default] (or the profile that the location names), aws_access_key_id=… and aws_secret_access_key=…, " +
	"or what else the AWS SDK takes as a source of credentials"

// unusable is the error of a credentials file.
func (s *sdk) unusable(path, format string, args ...any) error {
	s.secrets.Add(s.unread()...)
	return s3err.Hinted(s3err.Credentials, fileHint, "no credentials from %s: it %s", path, fmt.Sprintf(format, args...))
}

// source returns the credentials file, "" for the SDK's chain. A file that is
// named is the only source: where its profile gives no credentials, the SDK would
// go on to the role of the machine. A file that is empty from the start is none:
// it is the Secret of somebody who uses the chain, as with velero-plugin-for-aws.
func (s *sdk) source(ctx context.Context) (string, error) {
	path := s.file()
	if path == "" {
		return "", nil
	}
	content, err := readTwice(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", s.unusable(path, "is missing")
	case err != nil:
		return "", s.unusable(path, "cannot be read: %v", errors.Unwrap(err))
	case len(content) == 0 && s.fileUsed:
		return "", s.unusable(path, "has become empty")
	case len(content) == 0:
		return "", nil
	}
	if form := oddForm(content); form != "" {
		return "", s.unusable(path, "%s", form)
	}
	return path, s.examineProfile(ctx, path, string(content))
}

// readTwice reads a file without the white space around. Velero empties a file
// before it writes it again, so an empty one is read again.
func readTwice(ctx context.Context, path string) ([]byte, error) {
	const moment = 200 * time.Millisecond
	content, err := readBounded(path)
	if err != nil || len(content) > 0 {
		return content, err
	}
	select {
	case <-time.After(moment):
	case <-ctx.Done():
	}
	return readBounded(path)
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const limit = 1 << 20 // a Secret holds no more
	content, err := io.ReadAll(io.LimitReader(file, limit))
	return bytes.TrimSpace(content), err
}

// oddForm says what a file is that is no credentials file, or "".
func oddForm(content []byte) string {
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(content)), ""))
	switch {
	case bytes.HasPrefix(content, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark; save it as UTF-8 without one"
	case bytes.HasPrefix(content, []byte("\xff\xfe")), bytes.HasPrefix(content, []byte("\xfe\xff")), bytes.IndexByte(content, 0) >= 0:
		return "is in UTF-16; save it as UTF-8"
	case err == nil && bytes.Contains(decoded, []byte("aws_")):
		return "was encoded with base64 twice; data of a Secret takes it encoded once, stringData as it is"
	case content[0] == '{':
		return "is JSON, and the AWS SDK reads profiles"
	}
	return ""
}

var section = regexp.MustCompile(`(?m)^[ \t]*\[[ \t]*(?:profile[ \t]+)?([^\]\r\n]*?)[ \t]*\]`)

// examineProfile looks for the profile as the SDK does, and says what the file
// has instead.
func (s *sdk) examineProfile(ctx context.Context, path, content string) error {
	wanted := s.profile()
	if problem := noProfile(content, wanted); problem != "" {
		return s.unusable(path, "%s", problem)
	}
	shared, err := config.LoadSharedConfigProfile(ctx, wanted, func(o *config.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles = []string{path}, []string{path}
	})
	switch {
	case err != nil:
		return s.unusable(path, "has a profile [%s] that the AWS SDK does not take (%v); %s", wanted, err, linesOf(content, wanted))
	case !isSource(&shared):
		return s.unusable(path, "has nothing in profile [%s] that gives credentials; %s", wanted, linesOf(content, wanted))
	}
	return nil
}

// noProfile says which profiles a file has where the one that is wanted is not
// among them.
func noProfile(content, wanted string) string {
	var names []string
	for _, found := range section.FindAllStringSubmatch(content, -1) {
		names = append(names, found[1])
	}
	near := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, wanted) })
	switch {
	case slices.Contains(names, wanted):
		return ""
	case len(names) == 0:
		return fmt.Sprintf("has no profile: there is no line [%s]", wanted)
	case near >= 0:
		return fmt.Sprintf("has the profile [%s], and [%s] is wanted: capitals count", names[near], wanted)
	}
	return fmt.Sprintf("has no profile [%s]; it has %s", wanted, quoted(names))
}

// isSource tells whether the SDK finds credentials by the profile alone.
func isSource(c *config.SharedConfig) bool {
	for c.Source != nil {
		c = c.Source
	}
	named := []string{c.CredentialSource, c.CredentialProcess, c.WebIdentityTokenFile, c.SSOSessionName, c.SSOStartURL, c.LoginSession}
	return c.Credentials.HasKeys() || slices.ContainsFunc(named, func(value string) bool { return value != "" })
}

// linesOf names the settings that a profile has, without their values.
func linesOf(content, profile string) string {
	var names []string
	inside := false
	for line := range strings.Lines(content) {
		if found := section.FindStringSubmatch(line); found != nil {
			inside = found[1] == profile
			continue
		}
		name, value, assigned := strings.Cut(strings.TrimSpace(line), "=")
		if name = strings.TrimSpace(name); !inside || name == "" || name[0] == '#' || name[0] == ';' {
			continue
		}
		names = append(names, describeLine(name, strings.TrimSpace(value), assigned))
	}
	if len(names) == 0 {
		return "it has no lines"
	}
	return "it has " + strings.Join(names, ", ")
}

func describeLine(name, value string, assigned bool) string {
	switch {
	case !assigned:
		return "a line without ="
	case !isName(name):
		return "a line that begins with no name"
	case strings.HasPrefix(name, "export "):
		return fmt.Sprintf("%q, which is a line of a shell", name)
	case value == "":
		return name + " with no value"
	}
	return name
}

// isName tells a name of a setting from what may be a secret.
func isName(text string) bool {
	const longest = 32
	return len(text) <= longest && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz_ ") == ""
}

func quoted(names []string) string {
	var list []string
	for _, name := range names[:min(len(names), 10)] {
		if isName(strings.Trim(name, "0123456789-.")) {
			list = append(list, "["+name+"]")
		}
	}
	if len(list) == 0 {
		return "others"
	}
	return strings.Join(list, ", ")
}
