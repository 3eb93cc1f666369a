package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStaleLease: a lease that nobody renews counts only where nothing shows that the
// program runs.
func TestStaleLease(t *testing.T) {
	of := func(namespace string, renewed time.Time) lease {
		var l lease
		l.Metadata.Namespace, l.Metadata.Name = namespace, "leader"
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = "x", 15, renewed
		return l
	}
	stale, older, fresh := of("default", time.Now().Add(-time.Hour)), of("old", time.Now().Add(-2*time.Hour)), of("kube-system", time.Now())
	var idle workload
	idle.Metadata.Namespace, idle.Metadata.Name = "kube-system", "controller"
	idle.Spec.Template.Spec.Containers = []container{{Image: "registry/program:v1"}}
	ready := idle
	ready.Status.ReadyReplicas = 1
	for name, test := range map[string]struct {
		seen        running
		says, fails string
	}{
		"alive elsewhere": {seen: running{leases: []lease{stale, fresh}}, says: "lease kube-system/leader is 0s old"},
		"ready":           {seen: running{leases: []lease{stale}, workloads: []workload{idle, ready}}, says: "ready in kube-system/controller"},
		"alone":           {seen: running{leases: []lease{older, stale}}, fails: "its lease default/leader was last renewed 1h0m0s ago: the program does not run"},
		"not ready":       {seen: running{leases: []lease{stale}, workloads: []workload{idle}}, fails: "its lease default/leader was last renewed"},
	} {
		t.Run(name, func(t *testing.T) {
			said, err := test.seen.signOfLife("program", "leader")
			require.Equal(t, test.says, said)
			if test.fails == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.fails)
			var found *finding
			require.ErrorAs(t, err, &found)
			require.Equal(t, Failed, found.outcome)
		})
	}
}
