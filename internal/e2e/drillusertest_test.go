package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// What the user's test does, by its one argument.
const (
	asksForOrder = "drill-test-asks" // and for what else was restored
	readsOrder   = "drill-test-reads"
	readsMoved   = "drill-test-reads-moved" // what a data mover brought back
	saysNo       = "drill-test-says-no"
	holds        = "drill-test-holds"
	holdsFirst   = "drill-test-holds-first"  // before it asks for anything
	refuses      = "drill-test-refuses"      // without asking
	agrees       = "drill-test-agrees"       // without asking
	pausesFirst  = "drill-test-pauses-first" // and then refuses
	pausesLast   = "drill-test-pauses-last"  // where something was restored, and then agrees
)

// drillTest is the user's test of a drill: it wants to read the order in the volume
// of the namespace that it is given.
func drillTest(what string) error {
	switch what {
	case holdsFirst:
		return holdTest()
	case refuses:
		return errNone
	case agrees:
		return nil
	case pausesFirst, pausesLast:
		return pauseTest(what, os.Getenv("DRILL_NAMESPACE"))
	}
	content, err := readOrder(context.Background(), what, os.Getenv("DRILL_NAMESPACE"))
	switch {
	case err != nil:
		return err
	case what == readsMoved && content == moved:
	case content != order:
		return fmt.Errorf("the order is %q", content)
	case what == saysNo:
		return errNone
	case what == holds:
		return holdTest()
	}
	fmt.Println("there is", content)
	return nil
}

var errNone = errors.New("no such order")

func readOrder(ctx context.Context, what, namespace string) (string, error) {
	config, err := kube.Config("", "")
	if err != nil {
		return "", err
	}
	client, err := kube.New(config, kube.Options{QPS: 10, Burst: 10})
	if err != nil {
		return "", err
	}
	if what == asksForOrder {
		if _, err := client.Raw(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterroles/shop-reader", nil, nil); err != nil {
			return "", err
		}
		_, stock, _ := strings.Cut(os.Getenv("DRILL_NAMESPACES"), alsoDrilled+"=")
		if _, err := client.Raw(ctx, "/api/v1/namespaces/"+stock+"/configmaps/levels", nil, nil); err != nil {
			return "", err
		}
	}
	if what == readsMoved {
		return readFile(ctx, client, namespace, movedClaim, movedFile)
	}
	return readFile(ctx, client, namespace, "data", "file")
}

// readFile reads a file in the volume of a claim.
func readFile(ctx context.Context, client *kube.Client, namespace, claim, file string) (string, error) {
	found, err := client.Claims.In(namespace).Get(ctx, claim)
	if err != nil {
		return "", err
	}
	pv, err := client.PersistentVolumes.Get(ctx, found.Spec.VolumeName)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(filepath.Join(os.Getenv("DRILL_TEST_STORAGE"), "volumes", pv.Spec.CSI.VolumeHandle, "data", file))
	return string(content), err
}

// runDrillTest is for TestMain: it ends the process if that is the user's test.
func runDrillTest() {
	if len(os.Args) != 2 || !strings.HasPrefix(os.Args[1], "drill-test-") {
		return
	}
	if err := drillTest(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}

// holdTest has the test of a drill say that it is under way, and wait until the drill is
// killed.
func holdTest() error {
	if err := os.WriteFile(os.Getenv(reachedVariable), nil, 0o600); err != nil {
		return err
	}
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// pauseTest has the test of a drill say that it is under way, and wait until that was
// taken note of. In the empty namespace it fails.
func pauseTest(what, namespace string) error {
	empty := strings.Count(namespace, "-") == 1
	file := os.Getenv(reachedVariable)
	if empty == (what == pausesFirst) {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		for parent := os.Getppid(); exists(file) && os.Getppid() == parent; {
			time.Sleep(100 * time.Millisecond)
		}
	}
	if empty {
		return errNone
	}
	return nil
}
