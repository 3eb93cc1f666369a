package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

const locationTimeout = 2 * time.Minute

// Ends are the phases that a backup or a restore does not leave by itself.
var ends = []string{"Completed", "PartiallyFailed", "Failed", "FailedValidation"}

// Objects is the client for a kind of Velero's objects, such as "backups".
func (v *VeleroServer) Objects(kind string) dynamic.ResourceInterface {
	resource := schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: kind}
	return v.Cluster.Dynamic.Resource(resource).Namespace(v.Namespace)
}

// Status returns the status of a Velero object, empty if it has none.
func (v *VeleroServer) Status(ctx context.Context, kind, name string) (map[string]any, error) {
	object, err := v.Objects(kind).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get %s %s: %w", kind, name, err)
	}
	status, _, err := unstructured.NestedMap(object.Object, "status")
	return status, err
}

// WaitPhase waits until status.phase of a Velero object (kind "backups",
// "restores", "backupstoragelocations", …) is one of phases and returns it. The
// error of the deadline tells the object's status and the end of the server's log.
func (v *VeleroServer) WaitPhase(ctx context.Context, kind, name string, timeout time.Duration, phases ...string) (phase string, err error) {
	what := fmt.Sprintf("%s %s to be %s", kind, name, strings.Join(phases, " or "))
	err = Poll(ctx, timeout, what, func(ctx context.Context) (bool, string, error) {
		status, err := v.Status(ctx, kind, name)
		if err != nil {
			return false, "", err
		}
		phase, _ = status["phase"].(string)
		return slices.Contains(phases, phase), describe(status), nil
	})
	if err != nil {
		return phase, fmt.Errorf("%w\n%s", err, v.serverTail())
	}
	return phase, nil
}

func describe(status map[string]any) string {
	text, err := json.Marshal(status)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (v *VeleroServer) serverTail() string {
	if v.Process == nil {
		return "the Velero server was not started"
	}
	return fmt.Sprintf("the log of the Velero server, %s, ends with\n%s", v.Log(), v.Tail(tailLines))
}

// WaitLocation waits until the backup storage location is Available; the error
// carries its message.
func (v *VeleroServer) WaitLocation(ctx context.Context, name string) error {
	_, err := v.WaitPhase(ctx, "backupstoragelocations", name, locationTimeout, "Available")
	return err
}

// WaitBackup waits for a backup's end, whatever it is, and fails with its log if
// that is not Completed.
func (v *VeleroServer) WaitBackup(ctx context.Context, name string, timeout time.Duration) error {
	return v.waitCompleted(ctx, "backup", name, timeout)
}

// WaitRestore waits for a restore's end like WaitBackup.
func (v *VeleroServer) WaitRestore(ctx context.Context, name string, timeout time.Duration) error {
	return v.waitCompleted(ctx, "restore", name, timeout)
}

func (v *VeleroServer) waitCompleted(ctx context.Context, kind, name string, timeout time.Duration) error {
	phase, err := v.WaitPhase(ctx, kind+"s", name, timeout, ends...)
	if err != nil || phase == "Completed" {
		return err
	}
	status, err := v.Status(ctx, kind+"s", name)
	if err != nil {
		return fmt.Errorf("%s %s ended %s: %w", kind, name, phase, err)
	}
	return fmt.Errorf("%s %s ended %s: %s\nits log: %s\n%s", kind, name, phase, describe(status),
		v.problems(ctx, kind, name), v.serverTail())
}

// problems are the lines of a backup's or restore's own log that are no mere
// information.
func (v *VeleroServer) problems(ctx context.Context, kind, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	args := []string{kind, "logs", name}
	if file := v.options.S3.CAFile; file != "" {
		args = append(args, "--cacert", file)
	}
	out, err := v.CLI(ctx, args...)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "level=error") || strings.Contains(line, "level=warning") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
