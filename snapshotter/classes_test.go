package snapshotter

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

func snapshotClass(name, driver string, marks ...string) snapshotv1.VolumeSnapshotClass {
	class := snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}, Annotations: map[string]string{}}, Driver: driver}
	for _, mark := range marks {
		switch mark {
		case veleroClass:
			class.Labels[mark] = "true"
		case defaultClass:
			class.Annotations[mark] = "true"
		}
	}
	return class
}

func TestChooseClass(t *testing.T) {
	plain, labelled, standard := snapshotClass("plain", "d"), snapshotClass("labelled", "d", veleroClass), snapshotClass("standard", "d", defaultClass)
	other := snapshotClass("other", "e", defaultClass)
	all := []snapshotv1.VolumeSnapshotClass{plain, labelled, standard, other}
	for name, c := range map[string]struct {
		wish    wish
		classes []snapshotv1.VolumeSnapshotClass
		want    string
		wrong   []string
	}{
		"annotation goes first": {
			wish:    wish{annotation: "plain", perDriver: map[string]string{"d": "labelled"}, general: "standard"},
			classes: all, want: "plain",
		},
		"then the driver's":          {wish: wish{perDriver: map[string]string{"d": "plain"}, general: "standard"}, classes: all, want: "plain"},
		"then the general":           {wish: wish{general: "plain"}, classes: all, want: "plain"},
		"the general of another":     {wish: wish{general: "other"}, classes: all, want: "labelled"},
		"then the label":             {classes: all, want: "labelled"},
		"then the default":           {classes: []snapshotv1.VolumeSnapshotClass{plain, standard, other}, want: "standard"},
		"then the only one":          {classes: []snapshotv1.VolumeSnapshotClass{plain, other}, want: "plain"},
		"none":                       {wrong: []string{"driver d", "no VolumeSnapshotClass at all"}},
		"none of the driver":         {classes: []snapshotv1.VolumeSnapshotClass{other}, wrong: []string{"driver d", "only other (e)"}},
		"two unmarked":               {classes: []snapshotv1.VolumeSnapshotClass{plain, snapshotClass("b", "d")}, wrong: []string{"b (d), plain (d)", "snapshotClass.d"}},
		"two labelled":               {classes: []snapshotv1.VolumeSnapshotClass{labelled, snapshotClass("b", "d", veleroClass)}, wrong: []string{"the label", "b (d), labelled (d)"}},
		"annotation names none":      {wish: wish{annotation: "x"}, classes: all, wrong: []string{`"x"`, "annotation", "labelled (d), plain (d), standard (d)"}},
		"annotation names another":   {wish: wish{annotation: "other"}, classes: all, wrong: []string{"for driver e, not d"}},
		"the driver's names none":    {wish: wish{perDriver: map[string]string{"d": "x"}}, classes: all, wrong: []string{"snapshotClass.d"}},
		"the driver's names another": {wish: wish{perDriver: map[string]string{"d": "other"}}, classes: all, wrong: []string{"for driver e, not d"}},
		"the general names none":     {wish: wish{general: "x"}, classes: all, wrong: []string{"which the setting snapshotClass names;"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.wish.driver = "d"
			got, err := chooseClass(c.wish, c.classes)
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

func TestSecrets(t *testing.T) {
	class := snapshotClass("c", "d")
	none, err := createSecretOf(&class, "snap", "app")
	require.NoError(t, err)
	require.Empty(t, deleteAnnotations(none))
	require.Nil(t, lookupClass(ids.SnapshotID{Driver: "d"}, []snapshotv1.VolumeSnapshotClass{class}))

	class.Parameters = map[string]string{
		parameterSecretName: "s-${volumesnapshot.name}-${volumesnapshotcontent.name}", parameterSecretNamespace: "${volumesnapshot.namespace}",
		parameterListSecretName: "lister", parameterListSecretNamespace: "kube-system",
	}
	secret, err := createSecretOf(&class, "snap", "app")
	require.NoError(t, err)
	require.Equal(t, ids.SecretRef{Namespace: "app", Name: "s-snap-snap"}, secret)
	require.Equal(t, ids.SecretRef{Namespace: "kube-system", Name: "lister"}, listSecretOf(&class, "snap"))

	class.Parameters[parameterSecretName] = "${pvc.name}"
	_, err = createSecretOf(&class, "snap", "app")
	require.ErrorContains(t, err, "cannot be resolved")
	delete(class.Parameters, parameterSecretName)
	_, err = createSecretOf(&class, "snap", "app")
	require.ErrorContains(t, err, "cannot be resolved")
}

func TestLookupClass(t *testing.T) {
	with := func(name, driver, secret string) snapshotv1.VolumeSnapshotClass {
		class := snapshotClass(name, driver)
		class.Parameters = map[string]string{parameterListSecretName: secret, parameterListSecretNamespace: "ns"}
		return class
	}
	id := ids.SnapshotID{Driver: "d", Class: "mine", ListSecret: ids.SecretRef{Namespace: "ns", Name: "s"}}
	bare, same, any, other, mine := snapshotClass("bare", "d"), with("same", "d", "s"), with("any", "d", "t"), with("mine", "e", "s"), with("mine", "d", "t")
	for want, classes := range map[string][]snapshotv1.VolumeSnapshotClass{
		"mine": {any, same, mine, bare},
		"same": {any, same, other, bare},
		"any":  {bare, any, other},
	} {
		got := lookupClass(id, classes)
		require.NotNil(t, got, want)
		require.Equal(t, want, *got)
	}
	require.Nil(t, lookupClass(id, []snapshotv1.VolumeSnapshotClass{bare, other}))
}
