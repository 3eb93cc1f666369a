package account

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

// TestRotation replaces the file on disk, as Kubernetes does when the Secret
// changes, and leaves half of one there for a while.
func TestRotation(t *testing.T) {
	withoutEnvironment(t)
	path := credentialsFile(t, "FORMER", "the-former-secret")
	o, err := openWith(t, map[string]string{"credentialsFile": path})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("[default]\naws_access_key_id = HALF\n"), 0o600))
	time.Sleep(1100 * time.Millisecond) // past the interval at which the file is looked at
	require.Equal(t, "FORMER", accessKeyOf(t, o), "half a file does not end what works")
	require.NoError(t, os.WriteFile(path, []byte("[default]\naws_access_key_id = NEW\naws_secret_access_key = the-new-secret\n"), 0o600))
	require.Eventually(t, func() bool { return accessKeyOf(t, o) == "NEW" }, 5*time.Second, 20*time.Millisecond, "the new file takes effect")
}

// TestProcessThatPrintsSecrets is for the log: a credential_process that first
// works and then prints its secret in no form that is known.
func TestProcessThatPrintsSecrets(t *testing.T) {
	withoutEnvironment(t)
	secret, output := newSecret(), file(t, `{"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"the-first-secret"}`)
	o, err := openWith(t, map[string]string{"credentialsFile": file(t, "[default]\ncredential_process = /bin/cat "+output+"\n")})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(output, []byte(`{"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"`+secret), 0o600))
	o.Expire()
	require.Equal(t, "PROCESS", accessKeyOf(t, o))
	require.Contains(t, o.log.String(), "keeping the former ones")
	require.Contains(t, o.log.String(), "credential_process printed no credentials")
	require.NotContains(t, o.log.String(), secret)
	require.NotContains(t, o.log.String(), "the-first-secret")
}

// TestProcessThatFails is for the error: what a credential_process writes to its
// standard error is the reason, and goes nowhere else.
func TestProcessThatFails(t *testing.T) {
	withoutEnvironment(t)
	secret := "Zm9vYmFy-U2VjcmV0_MTIzNDU2Nzg5"
	script := file(t, "printf 'no token for \\033[31m%s: "+secret+" run sso login\\n' \"$1\" >&2\nhead -c 200000 /dev/zero >&2\nexit 3\n")
	_, err := openWith(t, map[string]string{"credentialsFile": file(t, "[default]\ncredential_process = /bin/sh "+script+" velero\n")})
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "no token for [31mvelero: **redacted** run sso login")
	require.Less(t, len(err.Error()), 1000)
	requireSecret(t, secret, err)
}

// TestProcessThatSpeaks works, writes to its standard error, and leaves a process
// behind that holds it open.
func TestProcessThatSpeaks(t *testing.T) {
	withoutEnvironment(t)
	script := file(t, `echo the login ends soon, process-secret >&2
sleep 30 >/dev/null &
echo '{"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"process-secret"}'
`)
	begin := time.Now()
	o, err := openWith(t, map[string]string{"credentialsFile": file(t, "[default]\ncredential_process = /bin/sh "+script+"\n")})
	require.NoError(t, err)
	require.Less(t, time.Since(begin), 25*time.Second, "it waited for the process that was left behind")
	require.Equal(t, "PROCESS", accessKeyOf(t, o))
	require.Contains(t, o.log.String(), "the login ends soon")
	require.NotContains(t, o.log.String(), "process-secret")
}

// brokenSTS gives credentials that live for lifetime once, and then takes its
// time to fail with the status.
func brokenSTS(t *testing.T, lifetime time.Duration, status int) (calls *atomic.Int32) {
	t.Helper()
	calls = &atomic.Int32{}
	working, _, _ := fakeSTS(t, lifetime)
	t.Setenv("AWS_ENDPOINT_URL_STS", serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			time.Sleep(50 * time.Millisecond)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, working, r.Body)
		if err != nil {
			return
		}
		req.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	}))
	return calls
}

// TestFailedRefresh wants one attempt a minute, and the old credentials
// meanwhile.
func TestFailedRefresh(t *testing.T) {
	withoutEnvironment(t)
	calls := brokenSTS(t, time.Hour, http.StatusForbidden)
	o, err := openWith(t, map[string]string{"credentialsFile": credentialsFile(t, "SOURCE", "source-secret-key"), "roleArn": "arn:aws:iam::123456789012:role/velero"})
	require.NoError(t, err)
	for range 20 {
		o.Expire() // as when the storage refuses them
		require.Equal(t, "ASSUMED1", accessKeyOf(t, o))
	}
	require.EqualValues(t, 2, calls.Load())
}

// TestExpiredAndFailing has nothing left to give, and still asks once only, which the AWS
// SDK does three times where that may pass: then requests wait for it.
func TestExpiredAndFailing(t *testing.T) {
	t.Run("refused", func(t *testing.T) { expiredAndFailing(t, http.StatusForbidden, s3err.Credentials, 2) })
	t.Run("away", func(t *testing.T) { expiredAndFailing(t, http.StatusServiceUnavailable, s3err.Unreachable, 4) })
}

func expiredAndFailing(t *testing.T, status int, kind s3err.Kind, asked int32) {
	withoutEnvironment(t)
	calls := brokenSTS(t, time.Second, status)
	o, err := openWith(t, map[string]string{"credentialsFile": credentialsFile(t, "SOURCE", "source-secret-key"), "roleArn": "arn:aws:iam::123456789012:role/velero"})
	require.NoError(t, err)
	time.Sleep(2100 * time.Millisecond)
	for range 20 {
		_, err := o.GetWithContext(&credentials.CredContext{})
		require.Equal(t, kind, s3err.KindOf(err), "%v", err)
	}
	require.Equal(t, asked, calls.Load())
}

// TestEndedRequest has a request end while it waits for credentials. That says nothing
// to the next one.
func TestEndedRequest(t *testing.T) {
	withoutEnvironment(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls, over := 0, make(chan struct{})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(t, func(w http.ResponseWriter, _ *http.Request) {
		lifetime := time.Hour
		switch calls++; calls {
		case 1:
			lifetime = 5*time.Minute + time.Second // less the five minutes that the SDK takes off
		case 2:
			cancel()
			<-over
			return
		}
		giveKeysFor(w, "CONTAINER", "container-secret", lifetime)
	}))
	t.Cleanup(func() { close(over) })
	o, err := openWith(t, nil)
	require.NoError(t, err)
	time.Sleep(2100 * time.Millisecond) // until they have expired

	_, err = o.GetWithContext(&credentials.CredContext{Context: ctx})
	require.Equal(t, s3err.Canceled, s3err.KindOf(err), "%v", err)
	require.Equal(t, "CONTAINER", accessKeyOf(t, o))
}

// TestRenewal looks at when credentials are renewed, without waiting for it.
func TestRenewal(t *testing.T) {
	for _, c := range []struct {
		age, left time.Duration // since they were fetched, and until they end
		failed    time.Duration // since the last attempt failed, 0 for none
		want      bool
	}{
		{time.Hour, 13 * time.Minute, 0, false},
		{time.Hour, 11 * time.Minute, 0, true},
		{time.Hour, 11 * time.Minute, 30 * time.Second, false},
		{time.Hour, 11 * time.Minute, 61 * time.Second, true},
		{10 * time.Second, time.Minute, 0, false},
		{2 * time.Minute, 30 * time.Second, 0, true},
	} {
		p := &provider{fetched: time.Now().Add(-c.age)}
		p.current.Expires = time.Now().Add(c.left)
		if c.failed > 0 {
			p.failure, p.failed = io.EOF, time.Now().Add(-c.failed)
		}
		require.Equal(t, c.want, p.nearEnd(), "%+v", c)
	}
}

// TestHowLongRequestsWait: they wait for a fetch, so it is short where they can do
// without.
func TestHowLongRequestsWait(t *testing.T) {
	p := &provider{}
	for _, limit := range []time.Duration{fetchTimeout, renewTimeout} {
		ctx, cancel := p.bounded(nil)
		cancel()
		deadline, _ := ctx.Deadline()
		require.WithinDuration(t, time.Now().Add(limit), deadline, 2*time.Second)
		p.current.AccessKeyID, p.current.SecretAccessKey = "A", "B"
	}
}

// TestSameContent has Velero write the file again with what is in it already.
func TestSameContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud")
	write := func(text string) stamp {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return stampOf([]string{path})
	}
	require.Equal(t, write("a"), write("a"))
	require.NotEqual(t, write("a"), write("b"))
	require.NotEqual(t, fmt.Sprint(write("")), fmt.Sprint(write("a")))
}
