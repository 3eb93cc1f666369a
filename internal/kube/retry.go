package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// attemptTimeout bounds one request, so that a connection that died silently
// does not use up the time of the whole call.
const attemptTimeout = 30 * time.Second

// retrier says how long a request is repeated, and who is told.
type retrier struct {
	grace time.Duration
	log   logrus.FieldLogger
}

// retry calls op until it succeeds, fails for good, or ctx ends. Where an answer
// may have been lost, op is called again: a create then finds its own object, a
// deletion finds none.
//
// The error is that of the last call, together with ctx's where that ended it.
func retry[T any](ctx context.Context, r retrier, what string, op func(context.Context) (T, error)) (T, error) {
	pause, began, told := newPause(), time.Now(), ""
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		result, err := op(attempt)
		cancel()
		if err == nil || !transient(err) || r.failsTooLong(err, began) {
			return result, err
		}
		if text := err.Error(); text != told && ctx.Err() == nil {
			told = text
			r.log.WithError(err).Warnf("the Kubernetes API does not %s; it is asked again", what)
		}
		if ctxErr := sleep(ctx, pause.Step()); ctxErr != nil {
			return result, fmt.Errorf("%w: %w", ctxErr, err)
		}
	}
}

// failsTooLong tells whether the API server itself has failed for the grace.
func (r retrier) failsTooLong(err error, began time.Time) bool {
	var status apierrors.APIStatus
	return r.grace > 0 && errors.As(err, &status) && status.Status().Code >= http.StatusInternalServerError && time.Since(began) > r.grace
}

// transient tells whether the same request may succeed a little later: the API
// server is away, starting, overloaded or has lost its leader.
func transient(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code >= http.StatusInternalServerError || apierrors.IsTooManyRequests(err) || apierrors.IsTimeout(err)
	}
	untrusted := errors.As(err, new(*tls.CertificateVerificationError)) // no repetition helps there
	return !errors.Is(err, context.Canceled) && !untrusted && transportFailed(err)
}

// transportFailed tells whether the request or its answer was lost on the way.
// The rest client gives a *url.Error for that, but the bare error where the
// connection broke in the middle of a body.
func transportFailed(err error) bool {
	var sent *url.Error
	var temporary interface{ Timeout() bool }
	return errors.As(err, &sent) || errors.As(err, &temporary) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func newPause() *wait.Backoff {
	return &wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 3 * time.Second}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
