package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
	csi           bool                  // Velero took snapshots itself
}

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
	p := newPlan()
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
	return d.assess(volumes)
}

func newPlan() *plan {
	return &plan{namespaces: map[string]*namespace{}, others: map[string]bool{}, clusterScoped: map[string]int{}, kinds: map[string]string{}, policies: map[string]string{}}
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
	original, empty := p.unsaved(volumes, slices.Contains(d.o.ExcludeResources, "pods"))
	if len(original) > 0 {
		return "", check.Fail("a restore would give these claims the original volumes, not copies: "+few(original),
			"their volumes are not in the backup, or were not saved and have the policy Retain; a drill must not touch them: "+
				"have the backup save them, or leave their namespaces out by --include-namespaces")
	}
	var doubts []string
	if len(empty) > 0 {
		doubts = append(doubts, "these claims come back empty: "+few(empty))
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
	if len(doubts) > 0 {
		return "", check.Warn(p.outline(d.o.ClusterResources)+"; "+strings.Join(doubts, "; "),
			"leave kinds out by --exclude-resources, or make sure that they do no harm beside the originals")
	}
	return p.outline(d.o.ClusterResources), nil
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
// whose policy is not Delete, and to a claim whose volume it does not know. Those of
// empty get a new volume (Velero, pkg/restore/restore.go), as do those that were saved
// file by file if pods are left out: these bring the files back.
func (p *plan) unsaved(volumes []backups.Volume, noPods bool) (original, empty []string) {
	saved, byPod := map[string]bool{}, map[string]bool{}
	for i := range volumes {
		v := &volumes[i]
		p.csi = p.csi || v.Method == backups.MethodCSI
		saved[v.Name], byPod[v.Name] = v.Method != "" && !v.Skipped, v.Method == backups.MethodPodVolume
	}
	for _, name := range p.names() {
		for _, claim := range slices.Sorted(maps.Keys(p.namespaces[name].claims)) {
			volume := p.namespaces[name].claims[claim]
			policy, known := p.policies[volume]
			switch {
			case known && saved[volume] && noPods && byPod[volume]:
				empty = append(empty, name+"/"+claim+" (its volume was saved file by file, which a pod restores)")
			case known && saved[volume]:
			case known && policy == "Delete":
				empty = append(empty, name+"/"+claim+" (its volume was not saved)")
			default:
				original = append(original, name+"/"+claim)
			}
		}
	}
	return original, empty
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
