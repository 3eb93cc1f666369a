package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Effort is how long a request goes on being made again.
type Effort int

const (
	// Brief is for opening, listing, looking and deleting: half a minute. Velero
	// looks at its locations one after another, and makes such a call again.
	Brief Effort = iota
	// Content is for what carries an object's content, its completion, its proof
	// and its abort: retryTimeout, from the first failure on.
	Content
)

const (
	briefLimit = 30 * time.Second

	firstPause     = 250 * time.Millisecond
	longPause      = 8 * time.Second
	throttledPause = 30 * time.Second
)

// minio-go pauses after its last attempt too (minio-go, retry.go), which here is its only
// one: a key that is not there would cost a tenth of a second.
func init() { minio.DefaultRetryUnit = 0 }

// Do runs request until it succeeds or trying again makes no sense. request gets
// a context that carries the number of the attempt.
func (c *Client) Do(ctx context.Context, effort Effort, request func(ctx context.Context) error) error {
	r := c.Retry(effort)
	for {
		r.attempt++
		err := request(wire.WithAttempt(ctx, r.attempt))
		if err == nil {
			c.worked.Store(true)
			return nil
		}
		if err := r.Wait(ctx, err); err != nil {
			return err
		}
	}
}

// Retry decides whether a failed request is made again. It is the only layer that
// does: minio-go's own retries are off.
type Retry struct {
	client  *Client
	limit   time.Duration
	effort  Effort
	since   time.Time // zero until something counts
	attempt int
	pauses  int
	renewed bool
	md5     bool // learned that the storage wants it
}

// Retry returns what decides for one operation.
func (c *Client) Retry(effort Effort) *Retry {
	r := &Retry{client: c, effort: effort, limit: c.Settings.RetryTimeout}
	if effort == Brief {
		r.limit, r.since = min(r.limit, briefLimit), time.Now()
	}
	return r
}

// Wait pauses before the next attempt and returns nil, or the error to give up
// with.
func (r *Retry) Wait(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	if r.since.IsZero() {
		r.since = time.Now()
	}
	if !r.again(err) {
		return err
	}
	r.pauses++
	pause := r.pause(s3err.KindOf(err))
	tried := time.Since(r.since)
	switch giveUp := r.pauses > r.client.Settings.MaxRetries || tried+pause > r.limit; {
	case giveUp && r.pauses == 1:
		return err
	case giveUp:
		return fmt.Errorf("%w (tried %d times in %v)", err, r.pauses, tried.Round(time.Millisecond))
	}
	r.tell(err, tried)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, err)
	}
}

// tell says in the log that the storage goes on failing: at the fourth pause, after
// some seconds, and then ever more rarely.
func (r *Retry) tell(err error, tried time.Duration) {
	if r.pauses >= 4 && r.pauses&(r.pauses-1) == 0 {
		r.client.Log.WithError(err).WithFields(logrus.Fields{"triedFor": tried.Round(time.Second).String(), "endsAfter": r.limit.String()}).
			Warn("The storage goes on failing, trying again")
	}
}

// again tells whether after err another attempt makes sense, and prepares it.
func (r *Retry) again(err error) bool {
	switch s3err.KindOf(err) {
	case s3err.Throttled, s3err.Server, s3err.Unreachable, s3err.Corrupt, s3err.Timeout:
		return true
	case s3err.NotS3, s3err.Trust: // it was the storage before: a proxy is starting, say
		return r.effort == Content && r.client.worked.Load()
	case s3err.Expired, s3err.Credentials:
		return r.renew()
	case s3err.NeedsMD5:
		first := !r.md5
		r.client.SendMD5.Store(true)
		r.md5 = true
		return first
	}
	return false
}

// renew has the credentials fetched again, once: they may have expired or been
// replaced.
func (r *Retry) renew() bool {
	if r.renewed || r.client.Account.Anonymous {
		return false
	}
	r.renewed = true
	r.client.Credentials.Expire()
	return true
}

// pause grows with every attempt, and further where the storage asks to slow
// down. Chance keeps the parts of an upload from coming back all at once.
func (r *Retry) pause(kind s3err.Kind) time.Duration {
	first, long := r.client.FirstPause, longPause
	if kind == s3err.Throttled {
		first, long = 2*first, throttledPause
	}
	d := min(first<<min(r.pauses-1, 16), long)
	return d/2 + rand.N(d/2) //nolint:gosec // the pause needs no secret
}

// ended says why the operation was given up, and what had gone wrong before.
func ended(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if s3err.KindOf(last) == s3err.Canceled || s3err.KindOf(last) == s3err.KindOf(cause) {
		return cause
	}
	return fmt.Errorf("%w; before that: %s", cause, s3err.Text(last))
}
