package objectstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	firstPause = 250 * time.Millisecond
	longPause  = 8 * time.Second
	// timeoutRetries is low because each timeout has already been a long wait.
	timeoutRetries = 2
)

// retrying decides whether a failed request is made again. It is the only layer
// that does: minio-go's own retries are off.
type retrying struct {
	store    *Store
	attempt  int // made so far
	timeouts int
	renewed  bool
	md5      bool // learned that the server wants it
}

// retry runs request until it succeeds or trying again makes no sense. request
// gets a context that carries the number of the attempt.
func (s *Store) retry(ctx context.Context, request func(ctx context.Context) error) error {
	r := retrying{store: s}
	for {
		r.attempt++
		err := request(withAttempt(ctx, r.attempt))
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ended(ctx, err)
		}
		if !r.again(err) {
			return err
		}
		if !s.pause(ctx, r.attempt) {
			return ended(ctx, err)
		}
	}
}

// again tells whether after err another attempt makes sense, and prepares it.
func (r *retrying) again(err error) bool {
	if r.attempt > r.store.settings.MaxRetries {
		return false
	}
	switch classify(err) {
	case KindThrottled, KindServer, KindUnreachable, KindCorrupt:
		return true
	case KindTimeout:
		r.timeouts++
		return r.timeouts <= timeoutRetries
	case KindExpired, KindCredentials:
		return r.renew()
	case KindNeedsMD5:
		r.store.sendMD5.Store(true)
		first := !r.md5
		r.md5 = true
		return first
	}
	return false
}

// renew has the credentials fetched again, once: they may have expired or been
// replaced.
func (r *retrying) renew() bool {
	if r.renewed || r.store.settings.Anonymous {
		return false
	}
	r.renewed = true
	r.store.creds.Expire()
	return true
}

// pause waits before attempt+1. It returns false when ctx ended.
func (s *Store) pause(ctx context.Context, attempt int) bool {
	d := min(s.firstPause<<min(attempt-1, 10), longPause)
	timer := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // the pause needs no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ended says why the operation was given up, and what had gone wrong before.
func ended(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if classify(last) == KindCanceled || classify(last) == classify(cause) {
		return cause
	}
	return fmt.Errorf("%w; before that: %s", cause, causeText(last))
}
