package classes

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func snapshotClass(name, driver string, offers ...string) *snapshotv1.VolumeSnapshotClass {
	class := &snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}, Annotations: map[string]string{}}, Driver: driver}
	for _, offer := range offers {
		switch offer {
		case VeleroClass:
			class.Labels[offer] = "true"
		case defaultClass:
			class.Annotations[offer] = "true"
		}
	}
	return class
}

func TestForSnapshot(t *testing.T) {
	plain, labelled, standard := snapshotClass("plain", "d"), snapshotClass("labelled", "d", VeleroClass), snapshotClass("standard", "d", defaultClass)
	other := snapshotClass("other", "e", defaultClass)
	all := []*snapshotv1.VolumeSnapshotClass{plain, labelled, standard, other}
	for name, c := range map[string]struct {
		wish    SnapshotWish
		classes []*snapshotv1.VolumeSnapshotClass
		want    string
		wrong   []string
	}{
		"annotation goes first": {
			wish:    SnapshotWish{Claim: map[string]string{VeleroClass: "plain"}, PerDriver: map[string]string{"d": "labelled"}, General: "standard"},
			classes: all, want: "plain",
		},
		"then the Backup's": {
			wish:    SnapshotWish{Backup: map[string]string{VeleroClass + "_d": "plain", VeleroClass + "_e": "other"}, PerDriver: map[string]string{"d": "labelled"}},
			classes: all, want: "plain",
		},
		"the Backup's for another":   {wish: SnapshotWish{Backup: map[string]string{VeleroClass + "_e": "other"}}, classes: all, want: "labelled"},
		"the Backup names another":   {wish: SnapshotWish{Backup: map[string]string{VeleroClass + "_d": "other"}}, classes: all, wrong: []string{"for driver e, not d", "the Backup's annotation"}},
		"then the driver's":          {wish: SnapshotWish{PerDriver: map[string]string{"d": "plain"}, General: "standard"}, classes: all, want: "plain"},
		"then the general":           {wish: SnapshotWish{General: "plain"}, classes: all, want: "plain"},
		"the general of another":     {wish: SnapshotWish{General: "other"}, classes: all, want: "labelled"},
		"then the label":             {classes: all, want: "labelled"},
		"then the default":           {classes: []*snapshotv1.VolumeSnapshotClass{plain, standard, other}, want: "standard"},
		"then the only one":          {classes: []*snapshotv1.VolumeSnapshotClass{plain, other}, want: "plain"},
		"none":                       {wrong: []string{"driver d", "no VolumeSnapshotClass at all"}},
		"none of the driver":         {classes: []*snapshotv1.VolumeSnapshotClass{other}, wrong: []string{"driver d", "only other (e)"}},
		"two that offer nothing":     {classes: []*snapshotv1.VolumeSnapshotClass{plain, snapshotClass("b", "d")}, wrong: []string{"b (d), plain (d)", "snapshotClass.d"}},
		"two labelled":               {classes: []*snapshotv1.VolumeSnapshotClass{labelled, snapshotClass("b", "d", VeleroClass)}, wrong: []string{"the label", "b (d), labelled (d)"}},
		"annotation names none":      {wish: SnapshotWish{Claim: map[string]string{VeleroClass: "x"}}, classes: all, wrong: []string{`"x"`, "annotation", "labelled (d), plain (d), standard (d)"}},
		"annotation names another":   {wish: SnapshotWish{Claim: map[string]string{VeleroClass: "other"}}, classes: all, wrong: []string{"for driver e, not d"}},
		"the driver's names none":    {wish: SnapshotWish{PerDriver: map[string]string{"d": "x"}}, classes: all, wrong: []string{"snapshotClass.d"}},
		"the driver's names another": {wish: SnapshotWish{PerDriver: map[string]string{"d": "other"}}, classes: all, wrong: []string{"for driver e, not d"}},
		"the general names none":     {wish: SnapshotWish{General: "x"}, classes: all, wrong: []string{"which the setting snapshotClass names;"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.wish.Driver = "d"
			got, err := ForSnapshot(c.wish, c.classes)
			if c.want != "" {
				require.NoError(t, err)
				require.Equal(t, c.want, got.Name)
				return
			}
			for _, words := range c.wrong {
				require.ErrorContains(t, err, words)
			}
			require.NotEmpty(t, c.wrong)
		})
	}
}

// TestCapitals asks as Velero does, which writes the driver in small letters.
func TestCapitals(t *testing.T) {
	class := snapshotClass("c", "Big.Driver")
	got, err := ForSnapshot(SnapshotWish{Driver: "Big.Driver", Backup: map[string]string{VeleroClass + "_big.driver": "c"}},
		[]*snapshotv1.VolumeSnapshotClass{snapshotClass("b", "Big.Driver"), class})
	require.NoError(t, err)
	require.Equal(t, "c", got.Name)
}
