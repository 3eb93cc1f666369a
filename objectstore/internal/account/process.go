package account

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// process is a profile's credential_process. The SDK would give it the standard error
// of this process, which is Velero's log; what it writes there is for the error.
type process struct {
	*sdk
	command string
}

// processOf returns the credential_process that cfg takes its credentials from, nil
// if they are from something else. Of a process behind an assumed role the SDK does
// not show the command.
func (s *sdk) processOf(cfg aws.Config) aws.CredentialsProvider {
	if !aws.IsCredentialsProvider(cfg.Credentials, (*processcreds.Provider)(nil)) {
		return nil
	}
	for _, source := range cfg.ConfigSources {
		if shared, is := source.(config.SharedConfig); is && shared.CredentialProcess != "" {
			return process{s, shared.CredentialProcess}
		}
	}
	return nil
}

// Retrieve implements aws.CredentialsProvider.
func (p process) Retrieve(ctx context.Context) (aws.Credentials, error) {
	output, err := collect()
	if err != nil {
		return aws.Credentials{}, err
	}
	found, err := processcreds.NewProviderCommand(processcreds.NewCommandBuilderFunc(func(ctx context.Context) (*exec.Cmd, error) {
		cmd, err := processcreds.DefaultNewCommandBuilder{Args: []string{p.command}}.NewCommand(ctx)
		if err == nil {
			cmd.Stderr = output.to
		}
		return cmd, err
	})).Retrieve(ctx)
	p.secrets.Add(found.SecretAccessKey, found.SessionToken)
	if err != nil {
		p.secrets.Add(p.unread()...)
	}
	said := p.clean(output.end())
	switch {
	case err != nil && said != "":
		err = fmt.Errorf("%w; its standard error begins %q", withoutOutput(err), said)
	case said != "":
		p.log.WithField("standardError", said).Info("The profile's credential_process gave credentials, and wrote to its standard error")
	}
	return found, err
}

// clean makes one short line of what the process wrote, without what it may have of
// secrets.
func (p process) clean(output string) string {
	for _, word := range wordsOf(output) {
		if settings.LooksSecret(word) || looksRandom(word) {
			p.secrets.Add(word)
		}
	}
	return s3err.Clean(p.secrets.Redact(output), 300)
}

// looksRandom tells whether a word has what a key or token of 20 bytes or more has.
// A long path may have it as well, and is no loss.
func looksRandom(word string) bool {
	has := func(is func(rune) bool) bool { return strings.ContainsFunc(word, is) }
	return len(word) >= 20 && has(unicode.IsUpper) && has(unicode.IsLower) && has(unicode.IsDigit)
}

const (
	outputLimit = 4 << 10 // bytes that are kept
	outputDelay = time.Second
)

// output collects what a process writes to a file. It does not wait for the end of
// another process that the first one has left behind.
type output struct {
	from, to *os.File
	done     chan string
}

func collect() (*output, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{from: from, to: to, done: make(chan string, 1)}
	go func() {
		begin, _ := io.ReadAll(io.LimitReader(from, outputLimit)) // what came before an error counts
		_, _ = io.Copy(io.Discard, from)
		o.done <- string(begin)
	}()
	return o, nil
}

// end returns the beginning of what was written.
func (o *output) end() string {
	_ = o.to.Close()
	_ = o.from.SetReadDeadline(time.Now().Add(outputDelay))
	defer o.from.Close()
	return <-o.done
}
