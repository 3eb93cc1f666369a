package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// copying says how long a volume with a source takes to be made, and what
// CreateVolume answers meanwhile. Without a code it answers when it is done.
type copying struct {
	Time    duration `json:"time"`
	Code    rpcCode  `json:"code"`
	Message string   `json:"message"`
}

// copies are the volumes being made in the background, by name.
type copies struct {
	mu     sync.Mutex
	byName map[string]*copyJob
}

// copyJob is one of them; its result is there when done is closed.
type copyJob struct {
	done chan struct{}
	vol  *volume
	err  error
}

// makeSlowly makes a volume in the time that the control file gives it. As with a
// cloud, the work goes on when the caller gives up or gets an error meanwhile, and
// a later call of the same name has its result.
func (d *driver) makeSlowly(ctx context.Context, want *volumeRequest) (*volume, error) {
	settings, err := d.control.read()
	if err != nil {
		return nil, err
	}
	slow := settings.Copying
	vol, err := d.volumeNamed(want.name)
	if err != nil {
		return nil, err
	}
	if slow.Time == 0 || vol != nil || want.source == (source{}) {
		return d.findOrMakeVolume(ctx, want)
	}
	job := d.copies.start(want.name, func() (*volume, error) {
		time.Sleep(time.Duration(slow.Time))
		return d.findOrMakeVolume(context.WithoutCancel(ctx), want)
	})
	if slow.Code == rpcCode(codes.OK) {
		return d.copies.result(ctx, want.name, job)
	}
	select {
	case <-job.done:
		return d.copies.result(ctx, want.name, job)
	default:
		return nil, status.Error(codes.Code(slow.Code), slow.Message)
	}
}

// start begins a job, unless there is one of this name.
func (c *copies) start(name string, run func() (*volume, error)) *copyJob {
	c.mu.Lock()
	defer c.mu.Unlock()
	if job := c.byName[name]; job != nil {
		return job
	}
	job := &copyJob{done: make(chan struct{})}
	if c.byName == nil {
		c.byName = map[string]*copyJob{}
	}
	c.byName[name] = job
	go func() {
		defer close(job.done)
		job.vol, job.err = run()
	}()
	return job
}

// result waits for a job's result, which can be had once.
func (c *copies) result(ctx context.Context, name string, job *copyJob) (*volume, error) {
	select {
	case <-job.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName[name] == job {
		delete(c.byName, name)
	}
	return job.vol, job.err
}
