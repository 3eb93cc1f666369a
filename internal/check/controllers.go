package check

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// lease is what a controller that is not alone keeps renewing.
type lease struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		HolderIdentity       string    `json:"holderIdentity"`
		LeaseDurationSeconds int       `json:"leaseDurationSeconds"`
		RenewTime            time.Time `json:"renewTime"`
	} `json:"spec"`
}

// alive tells whether its holder renews it. The clocks may differ a little.
func (l *lease) alive(now time.Time) bool {
	return l.Spec.HolderIdentity != "" && now.Sub(l.Spec.RenewTime) < time.Duration(2*l.Spec.LeaseDurationSeconds)*time.Second+time.Minute
}

// running is what can be seen of controllers.
type running struct {
	leases    []lease
	workloads []workload
}

// controllers looks for signs of life of the programs that do the work. The
// plugin itself needs them; none is a proof but a snapshot.
func (v *volumeSnapshotter) controllers(ctx context.Context) {
	var seen running
	v.Step(ctx, "snapshot-controller", func(ctx context.Context) (string, error) {
		seen = v.running(ctx)
		return seen.signOfLife("snapshot-controller", "snapshot-controller-leader")
	})
	for _, driver := range v.drivers {
		for _, sidecar := range []struct{ program, lease string }{
			{"csi-snapshotter", "external-snapshotter-leader-" + driver},
			{"csi-provisioner", driver},
		} {
			v.Step(ctx, sidecar.program, func(context.Context) (string, error) {
				detail, err := seen.signOfLife(sidecar.program, leaseName(sidecar.lease))
				return driver + ": " + detail, err
			})
		}
	}
}

var notInLease = regexp.MustCompile(`[^a-zA-Z0-9-]`)

// leaseName is the name under which the CSI sidecars keep a lease.
func leaseName(name string) string { return notInLease.ReplaceAllString(name, "-") }

// running reads what may be read; the rest counts as not seen.
func (v *volumeSnapshotter) running(ctx context.Context) running {
	var seen running
	var leases struct {
		Items []lease `json:"items"`
	}
	if v.get(ctx, "/apis/coordination.k8s.io/v1/leases", &leases) == nil {
		seen.leases = leases.Items
	}
	for _, plural := range []string{"deployments", "statefulsets", "daemonsets"} {
		var list struct {
			Items []workload `json:"items"`
		}
		if v.get(ctx, "/apis/apps/v1/"+plural, &list) == nil {
			seen.workloads = append(seen.workloads, list.Items...)
		}
	}
	return seen
}

// signOfLife looks for a program by its lease, else by what runs its image.
func (s *running) signOfLife(program, leaseName string) (string, error) {
	for _, l := range s.leases {
		if l.Metadata.Name != leaseName {
			continue
		}
		age := time.Since(l.Spec.RenewTime).Round(time.Second)
		if l.alive(time.Now()) {
			return fmt.Sprintf("lease %s/%s is %s old", l.Metadata.Namespace, leaseName, max(age, 0)), nil
		}
		return "", Fail(fmt.Sprintf("its lease %s/%s was last renewed %s ago: the program does not run", l.Metadata.Namespace, leaseName, age),
			"look at the pods and logs of "+program)
	}
	for i := range s.workloads {
		if w := &s.workloads[i]; w.uses(program) {
			where := w.Metadata.Namespace + "/" + w.Metadata.Name
			if !w.ready() {
				return "", Warn(where+" has it and is not ready", "look at the pods of "+where)
			}
			return "ready in " + where, nil
		}
	}
	return "", Warn("not seen in this cluster, neither by a lease nor by a workload; it may still run elsewhere",
		"install it if there is none; --full proves whether it works")
}
