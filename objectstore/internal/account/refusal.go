package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// refused says where no credentials came from, why, and what to do. What is
// passing keeps its kind, so that it is tried again.
func (s *sdk) refused(ctx context.Context, file string, err error) error {
	s.secrets.Add(s.unread()...)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	where, hint := s.chain()
	if file != "" {
		where, hint = fmt.Sprintf("profile %q of %s", s.profile(), file), roleHint
	}
	kind := s3err.KindOf(err)
	if kind == s3err.Unknown && errors.As(err, new(*retry.MaxAttemptsError)) {
		kind = s3err.Unreachable // a refusal that passes: the SDK has tried again
	}
	switch kind {
	case s3err.Timeout, s3err.Unreachable:
		hint = "the service behind the credentials is away: check DNS, network policies and the proxy settings"
	case s3err.Trust, s3err.TLS, s3err.Canceled:
		hint = ""
	default:
		kind = s3err.Credentials
	}
	return s3err.Hinted(kind, hint, "no credentials from %s: %w", where, withoutOutput(err))
}

// roleHint is for credentials that stand for others, which is all that can be
// refused where keys are written down.
const roleHint = "check the role, its trust policy, and what it is assumed with"

// chain names the link of the SDK's chain that the environment asks for.
func (s *sdk) chain() (where, hint string) {
	switch {
	case os.Getenv("AWS_ACCESS_KEY_ID") != "":
		return "the environment (AWS_ACCESS_KEY_ID)", roleHint
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		return "web identity (role " + s3err.Clean(os.Getenv("AWS_ROLE_ARN"), 200) + ")",
			"check that the role exists, and that its trust policy names this cluster's OIDC provider and Velero's service account"
	case os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return "the pod identity (AWS_CONTAINER_CREDENTIALS_FULL_URI)",
			"check the pod identity association of Velero's service account"
	}
	return "the default chain (environment, web identity, pod identity, instance role)",
		"name a Secret with credentials in spec.credential of the location, or give Velero's service account a role"
}

// withoutOutput leaves out what a credential_process printed. The SDK quotes it
// where it is not in the documented form.
func withoutOutput(err error) error {
	var process *processcreds.ProviderError
	var exit *exec.ExitError
	var start *exec.Error
	if !errors.As(err, &process) || errors.As(err, &exit) || errors.As(err, &start) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.New("the profile's credential_process printed no credentials in the form that the AWS SDK documents")
}

// unread are the words of the files and variables that credentials come from:
// where one cannot be read, the SDK or a service may quote it.
func (s *sdk) unread() []string {
	words := []string{os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")}
	for _, path := range append(s.paths(), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
		content, _ := os.ReadFile(path) //nolint:gosec // the SDK reads it too
		words = append(words, wordsOf(string(content))...)
	}
	return words
}

// wordsOf are the words of a text that may be secrets: long ones, and no names
// of settings before an equals sign.
func wordsOf(text string) []string {
	const shortest = 16 // bytes
	var words []string
	for line := range strings.Lines(text) {
		if name, value, assigned := strings.Cut(line, "="); assigned && isName(strings.TrimSpace(name)) {
			line = value
		}
		words = append(words, strings.FieldsFunc(line, func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune(`=:,"'{}[]`, r)
		})...)
	}
	return slices.DeleteFunc(words, func(word string) bool { return len(word) < shortest })
}
