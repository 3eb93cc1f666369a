package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// A drill renews its Lease as long as it is under way. Who else finds the Lease looks
// whether it is renewed, and compares no clocks. It is made before and deleted after
// all else, so that what has no Lease is of no running drill.
const (
	renewInterval = 3 * time.Second
	renewalWait   = 15 * time.Second // in which a running drill renews it
)

// errLost ends a drill that another one has taken for dead.
var errLost = errors.New("the drill's Lease is gone: another drill took this one for dead")

// takeLease makes the Lease and renews it until release.
func (d *drill) takeLease(ctx context.Context) error {
	made := d.newObject("coordination.k8s.io/v1", "Lease", d.Namespace, holderName(d.report.Drill))
	made.SetAnnotations(map[string]string{
		annotationBackup: d.name, annotationClusterResources: strings.Join(d.o.ClusterResources, ","), annotationOriginals: strings.Join(d.plan.originals, ","),
	})
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	made.Object["spec"] = map[string]any{
		"holderIdentity": fmt.Sprintf("%s/%d", host, os.Getpid()), "leaseDurationSeconds": int64(renewalWait.Seconds()),
		"acquireTime": microTime(), "renewTime": microTime(),
	}
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := d.leases.Create(within, made)
	if err != nil {
		return err
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { d.renew(renewing, lease) })
	d.release = func() { stop(); wait.Wait() }
	return nil
}

// microTime is now, as a Lease has it.
func microTime() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

func (d *drill) renew(ctx context.Context, lease *object) {
	ticks := time.NewTicker(renewInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		renewed, err := d.leases.Edit(ctx, lease, func(*object) (kube.Patch, error) {
			return kube.Patch{"spec": map[string]any{"renewTime": microTime()}}, nil
		})
		if apierrors.IsNotFound(err) {
			d.lose(errLost)
			return
		}
		if err == nil {
			lease = renewed
		}
	}
}

// isDead tells whether the drill of a Lease has ended without removing it: its process
// does not renew it.
func (c *Cluster) isDead(ctx context.Context, lease *object) (bool, error) {
	within, cancel := context.WithTimeout(ctx, renewalWait)
	defer cancel()
	name, version := lease.GetName(), lease.GetResourceVersion()
	target := kube.Target{Name: name, Object: c.leases.Describe(name), Until: "its renewal"}
	changed := func(now *object) bool { return now == nil || now.GetResourceVersion() != version }
	_, err := c.leases.Until(within, target, lease, func(now *object) (bool, string, error) { return changed(now), "", nil })
	if err == nil || ctx.Err() != nil {
		return false, ctx.Err()
	}
	// The API may have failed meanwhile: only what it says now counts.
	within, cancel = context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now, err := c.leases.Find(within, name)
	return err == nil && !changed(now), err
}

// holder names the process of a Lease.
func holder(lease *object) string {
	name, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	return clean(name)
}
