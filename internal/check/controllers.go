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

func (l *lease) place() string { return l.Metadata.Namespace + "/" + l.Metadata.Name }

// age is how long ago it was renewed.
func (l *lease) age(now time.Time) time.Duration {
	return now.Sub(l.Spec.RenewTime).Round(time.Second)
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

// signOfLife looks for a program by its lease, else by what runs its image. A lease
// that nobody renews may be what another installation has left.
func (s *running) signOfLife(program, leaseName string) (string, error) {
	l, w, now := s.lease(leaseName), s.workload(program), time.Now()
	switch {
	case l != nil && l.alive(now):
		return fmt.Sprintf("lease %s is %s old", l.place(), max(l.age(now), 0)), nil
	case w != nil && w.ready():
		return "ready in " + w.place(), nil
	case l != nil:
		return "", Fail(fmt.Sprintf("its lease %s was last renewed %s ago: the program does not run", l.place(), l.age(now)), "look at the pods and logs of "+program)
	case w != nil:
		return "", Warn(w.place()+" has it and is not ready", "look at the pods of "+w.place())
	}
	return "", Warn("not seen in this cluster, neither by a lease nor by a workload; it may still run elsewhere",
		"install it if there is none; --full proves whether it works")
}

// lease is one of that name that is alive, else the one that was renewed last, nil if
// there is none.
func (s *running) lease(name string) *lease {
	var found *lease
	for i := range s.leases {
		switch l := &s.leases[i]; {
		case l.Metadata.Name != name:
		case l.alive(time.Now()):
			return l
		case found == nil || l.Spec.RenewTime.After(found.Spec.RenewTime):
			found = l
		}
	}
	return found
}

// workload is one that runs the program and is ready, else any that should, nil if
// there is none.
func (s *running) workload(program string) *workload {
	var found *workload
	for i := range s.workloads {
		if w := &s.workloads[i]; w.uses(program) && (found == nil || w.ready()) {
			found = w
		}
	}
	return found
}

func (w *workload) place() string { return w.Metadata.Namespace + "/" + w.Metadata.Name }
