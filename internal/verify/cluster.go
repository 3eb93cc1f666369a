package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// Cluster is the one that backups would be restored into. It remembers what it was
// asked, so that a run over many backups asks once. It is for one goroutine.
type Cluster struct {
	*check.Cluster
	once      *kube.Client // what a restore is made with, asked for once
	log       logrus.FieldLogger
	lists     snapshotter.StoredLists // by which the journal of snapshots is judged
	features  *features               // of Velero; nil until they were asked for
	served    map[string][]string     // plurals by the version of an API, such as apps/v1
	locations map[string]*location
}

// features are those that Velero's server runs with, or why they are not known.
type features struct {
	names []string
	err   error
}

// location is a VolumeSnapshotLocation.
type location struct {
	restore restorer                 // as a restore has it
	patient *snapshotter.Snapshotter // waits no longer than an answer may take
	brief   *snapshotter.Snapshotter // takes an answer for the last one
	// doubts are by driver: why it cannot tell whether a snapshot is there, "" if it
	// can.
	doubts map[string]string
}

// NewCluster makes a Cluster. It asks nothing yet.
func NewCluster(c *check.Cluster, lists snapshotter.StoredLists, log logrus.FieldLogger) *Cluster {
	return &Cluster{Cluster: c, once: c.Kube.Once(), log: log, lists: lists, served: map[string][]string{}, locations: map[string]*location{}}
}

// How long the cluster has to answer one question, and a driver.
const (
	clusterTimeout = 20 * time.Second
	driverTimeout  = time.Minute
	briefGrace     = 200 * time.Millisecond
)

// location returns the one that a snapshot was taken with, which a restore uses too.
func (c *Cluster) location(ctx context.Context, name string) (*location, error) {
	if known := c.locations[name]; known != nil {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	found, err := c.Find(ctx, check.VolumeSnapshot, name)
	if err == nil {
		err = c.ReadDefaults(ctx, check.VolumeSnapshot, found)
	}
	if err != nil {
		return nil, err
	}
	if found.Provider != defaults.Provider {
		return nil, fmt.Errorf("%s is of provider %s, which does not know the snapshots of %s", found.Subject, found.Provider, defaults.Provider)
	}
	l := &location{doubts: map[string]string{}}
	settings := maps.Clone(found.Settings())
	if settings == nil {
		settings = map[string]string{}
	}
	settings["sweepAfter"] = "0"
	if l.restore, err = snapshotter.OpenOn(c.Kube, c.Namespace, c.log, settings); err != nil {
		return nil, fmt.Errorf("%s: %w", found.Subject, err)
	}
	settings["restoreTimeout"] = driverTimeout.String()
	if l.patient, err = snapshotter.OpenOn(c.once, c.Namespace, c.log, settings); err != nil {
		return nil, err
	}
	settings["errorGracePeriod"] = briefGrace.String()
	if l.brief, err = snapshotter.OpenOn(c.once, c.Namespace, c.log, settings); err != nil {
		return nil, err
	}
	c.locations[name] = l
	return l, nil
}

// versionForm keeps what a backup says from being another path of the API.
var versionForm = regexp.MustCompile(`^([a-z0-9.-]+/)?v[a-z0-9]+$`)

// serves tells whether the cluster serves a kind, by its plural, in a version of an
// API such as apps/v1 or v1.
func (c *Cluster) serves(ctx context.Context, version, plural string) (bool, error) {
	if !versionForm.MatchString(version) {
		return false, nil
	}
	plurals, asked := c.served[version]
	if !asked {
		path := "/apis/" + version
		if version == "v1" {
			path = "/api/v1"
		}
		var list metav1.APIResourceList
		if _, err := c.read(ctx, path, &list); err != nil {
			return false, err
		}
		for i := range list.APIResources { // none of a version that is not there
			plurals = append(plurals, list.APIResources[i].Name)
		}
		c.served[version] = plurals
	}
	return slices.Contains(plurals, plural), nil
}

// read reads what stands at a path of the API, and tells whether there is anything.
func (c *Cluster) read(ctx context.Context, path string, into any) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, clusterTimeout, errors.New("no answer from the Kubernetes API"))
	defer cancel()
	raw, err := c.Kube.Raw(ctx, path, nil, nil)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(raw, into)
}
