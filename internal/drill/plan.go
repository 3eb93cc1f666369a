package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// plan is what a drill knows of its backup before it restores.
type plan struct {
	namespaces    map[string]*namespace // those that are drilled
	others        map[string]bool       // those that are not
	clusterScoped map[string]int        // items by their resource
	kinds         map[string]string     // versions of APIs by resource, such as apps/v1 of deployments.apps
	reaches       []string              // what would reach outside
	more          int                   // what is not told of that
	policies      map[string]string     // of the PersistentVolumes, Delete or Retain
	originals     []string              // the volumes of the storage, as stored names them
	snapshots     map[string]bool       // PersistentVolumes with a native snapshot in Velero's list
	csi           bool                  // Velero took snapshots itself
	withoutCSI    bool                  // and does not restore from them any more
	unknownCSI    error                 // why that is not known
}

// enableCSI is the feature with which Velero takes CSI snapshots itself, and without which
// it restores nothing from them.
const enableCSI = "EnableCSI"

// namespace is one of the backup.
type namespace struct {
	labels map[string]string // of its pod security
	claims map[string]string // that were bound, with their volumes
	marker Marker            // that must be there, "" if none was found
}

func (p *plan) names() []string { return slices.Sorted(maps.Keys(p.namespaces)) }

// system are namespaces that are drilled only if they are named.
var system = []string{"kube-system", "kube-public", "kube-node-lease"}

// read reads the archive to its end.
func (d *drill) read(ctx context.Context) (string, error) {
	volumes, err := d.l.Volumes(ctx, d.name)
	if err != nil {
		return "", err
	}
	snapshots, err := d.l.Snapshots(ctx, d.name)
	if err != nil && !backups.IsMissing(err) { // Velero restores without it
		return "", err
	}
	p := newPlan()
	for i := range snapshots {
		p.snapshots[snapshots[i].Spec.PersistentVolume] = true
	}
	wanted := func(name string) bool {
		if len(d.o.Namespaces) > 0 {
			return slices.Contains(d.o.Namespaces, name)
		}
		return name != d.Namespace && !slices.Contains(system, name)
	}
	err = d.l.Archive(ctx, d.name, func(e backups.Entry) error {
		place, is := backups.ParsePlace(e.Path)
		if !is || place.Version != "" {
			return nil
		}
		item, err := backups.ReadItem(e)
		if err != nil {
			return err
		}
		p.note(item, place, wanted, d.o.ExcludeResources)
		return nil
	})
	if err != nil {
		return "", err
	}
	d.plan = *p
	d.askForCSI(ctx, volumes)
	return d.assess(volumes)
}

// askForCSI asks whether Velero restores from the snapshots that it took itself.
func (d *drill) askForCSI(ctx context.Context, volumes []backups.Volume) {
	p := &d.plan
	p.csi = slices.ContainsFunc(volumes, func(v backups.Volume) bool { return v.Method == backups.MethodCSI })
	if !p.csi {
		return
	}
	features, err := d.Features(ctx)
	p.withoutCSI, p.unknownCSI = err == nil && !slices.Contains(features, enableCSI), err
}

func newPlan() *plan {
	return &plan{namespaces: map[string]*namespace{}, others: map[string]bool{}, clusterScoped: map[string]int{}, kinds: map[string]string{}, policies: map[string]string{}, snapshots: map[string]bool{}}
}

// note notes what matters of an item.
func (p *plan) note(i *backups.Item, place backups.Place, wanted func(string) bool, excluded []string) {
	switch {
	case place.Resource == "namespaces":
		if wanted(place.Name) {
			p.in(place.Name).labels = podSecurity(i.Metadata.Labels)
		} else {
			p.others[place.Name] = true
		}
		return
	case place.Resource == "persistentvolumes":
		p.policies[place.Name] = field[string](i.Spec, "persistentVolumeReclaimPolicy")
		if csi := field[*corev1.CSIPersistentVolumeSource](i.Spec, "csi"); csi != nil {
			p.originals = append(p.originals, stored(csi))
		}
		return
	case place.Namespace == "":
		p.clusterScoped[place.Resource]++
		p.kinds[place.Resource] = i.APIVersion
		return
	case !wanted(place.Namespace):
		p.others[place.Namespace] = true
		return
	}
	in := p.in(place.Namespace)
	p.kinds[place.Resource] = i.APIVersion
	if plural, _, _ := strings.Cut(place.Resource, "."); slices.Contains(excluded, place.Resource) || slices.Contains(excluded, plural) {
		return
	}
	if place.Resource == "persistentvolumeclaims" && field[string](i.Spec, "volumeName") != "" {
		in.claims[place.Name] = field[string](i.Spec, "volumeName")
	}
	in.marker = better(in.marker, Marker{Namespace: place.Namespace, Resource: place.Resource, Name: place.Name})
	for _, text := range outside(i) {
		if len(p.reaches) < mostTold {
			p.reaches = append(p.reaches, text)
		} else {
			p.more++
		}
	}
}

// mostTold is how many findings are told of a kind.
const mostTold = 6

func (p *plan) in(name string) *namespace {
	if p.namespaces[name] == nil {
		p.namespaces[name] = &namespace{claims: map[string]string{}}
	}
	return p.namespaces[name]
}

// podSecurity are the labels without which a namespace may refuse its pods. No other
// is copied: GitOps tools delete what has their labels and is not theirs.
func podSecurity(labels map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range labels {
		if strings.HasPrefix(key, "pod-security.kubernetes.io/") {
			kept[key] = value
		}
	}
	return kept
}

// field reads one field of a JSON object, the zero value if it is not there.
func field[T any](object json.RawMessage, name string) (value T) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return value
	}
	_ = json.Unmarshal(fields[name], &value)
	return value
}

// assess says what the archive means for the drill.
func (d *drill) assess(volumes []backups.Volume) (string, error) {
	p := &d.plan
	for _, name := range d.o.Namespaces {
		if p.namespaces[name] == nil {
			return "", check.Fail(fmt.Sprintf("the backup has no namespace %s, only %s", name, few(slices.Sorted(maps.Keys(p.others)))), "name one of these by --include-namespaces")
		}
	}
	if len(p.namespaces) == 0 {
		return "", check.Fail("nothing of the backup is in a namespace that is drilled", "name one by --include-namespaces")
	}
	if err := d.wantedOfCluster(); err != nil {
		return "", err
	}
	original, empty, needsCSI := p.unsaved(volumes, slices.Contains(d.o.ExcludeResources, "pods"))
	if len(original) > 0 {
		return "", check.Fail("a restore would give these claims the original volumes, not copies: "+few(original),
			"their volumes are not in the backup, were not saved and have the policy Retain, or their snapshots are missing in "+backups.PartSnapshots.Object(d.name)+" (see verify); a drill must not touch them: "+
				"have the backup save them, or leave their namespaces out by --include-namespaces")
	}
	if needsCSI && p.withoutCSI {
		return "", check.Fail("these claims come back empty: "+few(empty),
			"to restore this backup, add "+enableCSI+" to --features in the arguments of Velero's Deployment; read this first: "+docs.Page("migrate-from-enablecsi.md"))
	}
	if doubts := d.doubts(empty, needsCSI); len(doubts) > 0 {
		return "", check.Warn(p.outline(d.o.ClusterResources)+"; "+strings.Join(doubts, "; "),
			"leave kinds out by --exclude-resources, or make sure that they do no harm beside the originals")
	}
	return p.outline(d.o.ClusterResources), nil
}

// doubts are what a person is told of, and what keeps no drill from being made.
func (d *drill) doubts(empty []string, needsCSI bool) (doubts []string) {
	p := &d.plan
	if len(empty) > 0 {
		doubts = append(doubts, "these claims come back empty: "+few(empty))
	}
	if needsCSI && p.unknownCSI != nil {
		doubts = append(doubts, "claims come back empty if Velero's server runs without "+enableCSI+", which is not known: "+p.unknownCSI.Error())
	}
	if len(d.o.ClusterResources) > 0 {
		doubts = append(doubts, "these come back for the whole cluster until the drill ends: "+few(d.o.ClusterResources))
	}
	if len(p.reaches) > 0 {
		doubts = append(doubts, "what is restored may reach outside: "+strings.Join(p.reaches, "; "))
	}
	if p.more > 0 {
		doubts = append(doubts, fmt.Sprintf("and so may %d more", p.more))
	}
	return doubts
}

func (p *plan) outline(named []string) string {
	claims := 0
	for _, n := range p.namespaces {
		claims += len(n.claims)
	}
	detail := fmt.Sprintf("%s with %s", check.Count(len(p.namespaces), "namespace"), check.Count(claims, "claim"))
	if len(p.others) > 0 {
		detail += "; left out: namespaces " + few(slices.Sorted(maps.Keys(p.others)))
	}
	resources := slices.DeleteFunc(slices.Sorted(maps.Keys(p.clusterScoped)), func(r string) bool { return slices.Contains(named, r) })
	if len(resources) > 0 {
		detail += "; left out, since they are of the cluster: " + few(resources)
	}
	return detail
}

// unsaved are the claims without a copy of their volumes. Velero restores those of
// original with the volume itself: that is what it does to one without a snapshot
// whose policy is not Delete, to a claim whose volume it does not know, and to a volume
// with a native snapshot that is not in the list of snapshots. Those of
// empty get a new volume (Velero, pkg/restore/restore.go). needsCSI tells whether any
// comes back by what Velero does with EnableCSI alone.
func (p *plan) unsaved(volumes []backups.Volume, noPods bool) (original, empty []string, needsCSI bool) {
	saved := map[string]*backups.Volume{}
	for i := range volumes {
		if v := &volumes[i]; v.Method != "" && !v.Skipped {
			saved[v.Name] = v
		}
	}
	for _, name := range p.names() {
		for _, claim := range slices.Sorted(maps.Keys(p.namespaces[name].claims)) {
			volume := p.namespaces[name].claims[claim]
			v := saved[volume]
			policy, known := p.policies[volume]
			switch {
			case v != nil && v.Method == backups.MethodNative && !p.snapshots[volume]:
				original = append(original, name+"/"+claim)
			case known && v != nil:
				needsCSI = needsCSI || v.Method == backups.MethodCSI
				if why := p.lost(v, noPods); why != "" {
					empty = append(empty, name+"/"+claim+" ("+why+")")
				}
			case known && policy == "Delete":
				empty = append(empty, name+"/"+claim+" (its volume was not saved)")
			default:
				original = append(original, name+"/"+claim)
			}
		}
	}
	return original, empty, needsCSI
}

// lost is why a volume that Velero tried to save comes back empty, "" if it does not.
func (p *plan) lost(v *backups.Volume, noPods bool) string {
	switch {
	case v.Method == backups.MethodPodVolume && v.Result == "failed":
		return "its files could not be saved"
	case v.Method == backups.MethodPodVolume && noPods:
		return "its volume was saved file by file, which a pod restores"
	case v.Method == backups.MethodCSI && p.withoutCSI:
		return enableCSI + " saved it, and Velero's server runs without it"
	}
	return ""
}

// backup wants the Backup to be one that Velero restores from, here and in the
// storage.
func (d *drill) backup(ctx context.Context) (string, error) {
	var err error
	if d.stored, err = d.l.Metadata(ctx, d.name); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if d.object, err = d.backups.Get(within, d.name); err != nil {
		return "", err
	}
	if !d.stored.Restorable() {
		return "", check.Fail(fmt.Sprintf("Velero does not restore from a backup whose phase is %q", d.stored.Status.Phase), "choose a backup that is Completed")
	}
	detail := d.stored.Status.Phase
	if d.stored.Status.Phase != backups.PhaseCompleted {
		return "", check.Warn("it is "+detail+": something was not saved", "velero-plugin-longshore describe "+d.name+" tells what")
	}
	return detail, nil
}

// age compares the age of what will come back: a backup holds what was there when it
// began.
func (d *drill) age(context.Context) (string, error) {
	began := d.stored.Status.StartTimestamp
	if began == nil {
		return "", check.Fail("the backup does not say when it began", "its metadata is damaged: velero-plugin-longshore verify "+d.name)
	}
	d.report.Began, d.report.Age = *began, time.Since(*began)
	return tooOld(d.report.Age, d.o.MaxAge)
}

// tooOld fails if what came back is older than it may be.
func tooOld(age, limit time.Duration) (string, error) {
	text := age.Round(time.Second).String()
	switch {
	case age < -time.Minute:
		return "", check.Fail("the backup began "+(-age).Round(time.Second).String()+" from now", "compare the clocks of this machine and of Velero's")
	case limit > 0 && age > limit:
		return "", check.Fail(fmt.Sprintf("what comes back is %s old, and %s is the limit", text, limit), "find out why there is no newer backup, or drill the newest one")
	case limit == 0:
		return text + ", and no limit is set", nil
	}
	return text + ", of at most " + limit.String(), nil
}

// few joins words, and tells how many there are more.
func few(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	var told []string
	for _, word := range words {
		told = append(told, clean(word))
	}
	return check.Few(told, ", ", mostTold)
}
