package classes

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func storageClass(name, driver string, annotations ...string) *storagev1.StorageClass {
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}}, Provisioner: driver}
	for _, annotation := range annotations {
		class.Annotations[annotation] = "true"
	}
	return class
}

func TestForRestore(t *testing.T) {
	a, b, only := storageClass("a", "d"), storageClass("b", "d", defaultStorageClass), storageClass("only", "e")
	all := []*storagev1.StorageClass{a, b, only}
	velero := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "map"}, Data: map[string]string{"old": "a", "older": "gone"}}
	for name, c := range map[string]struct {
		wish    StorageWish
		classes []*storagev1.StorageClass
		want    string
		warning []string
		wrong   []string
	}{
		"of the same name":         {wish: StorageWish{Driver: "d", Old: "a"}, want: "a"},
		"mapped by Velero":         {wish: StorageWish{Driver: "d", Old: "old", Velero: velero}, want: "a"},
		"mapped by the location":   {wish: StorageWish{Driver: "d", Old: "old", Mapped: map[string]string{"old": "b"}}, want: "b", warning: []string{"will say old", "map old to b"}},
		"mapped by both alike":     {wish: StorageWish{Driver: "d", Old: "old", Mapped: map[string]string{"old": "a"}, Velero: velero}, want: "a"},
		"mapped by both otherwise": {wish: StorageWish{Driver: "d", Old: "old", Mapped: map[string]string{"old": "b"}, Velero: velero}, want: "b", warning: []string{"will say a", "map old to b"}},
		"mapped to itself":         {wish: StorageWish{Driver: "d", Old: "a", Mapped: map[string]string{"a": "a"}}, want: "a"},
		"none, the default":        {wish: StorageWish{Driver: "d"}, want: "b"},
		"none, the only one":       {wish: StorageWish{Driver: "e"}, want: "only"},
		"none, as set":             {wish: StorageWish{Driver: "d", Classless: "a"}, want: "a"},
		"none, and two":            {wish: StorageWish{Driver: "d"}, classes: []*storagev1.StorageClass{a, storageClass("c", "d")}, wrong: []string{"a, c", `"storageClass."`}},
		"none, and none":           {wish: StorageWish{Driver: "f"}, wrong: []string{"of driver f there are none"}},
		"none, set wrong":          {wish: StorageWish{Driver: "d", Classless: "x"}, wrong: []string{`"x", which the setting storageClass. names`}},
		"gone":                     {wish: StorageWish{Driver: "d", Old: "gone"}, wrong: []string{`no StorageClass "gone", which the backup names`, "driver d has a, b", "storageClass.gone"}},
		"gone by Velero":           {wish: StorageWish{Driver: "d", Old: "older", Velero: velero}, wrong: []string{`"gone", which ConfigMap velero/map (for older) names`, "storageClass.older"}},
		"another driver's":         {wish: StorageWish{Driver: "d", Old: "only"}, wrong: []string{"is for driver e", "one of driver d", "storageClass.only"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.classes == nil {
				c.classes = all
			}
			class, warning, err := ForRestore(c.wish, c.classes)
			if c.want != "" {
				require.NoError(t, err)
				require.Equal(t, c.want, class.Name)
				for _, words := range c.warning {
					require.Contains(t, warning, words)
				}
				require.Equal(t, len(c.warning) == 0, warning == "", warning)
				return
			}
			for _, words := range c.wrong {
				require.ErrorContains(t, err, words)
			}
			require.NotEmpty(t, c.wrong)
		})
	}
}

func TestDrivers(t *testing.T) {
	all := Drivers{Renamed: map[string]string{"old": "new"}}
	require.True(t, all.Takes("any"))
	for driver, want := range map[string]string{"any": "any", "old": "new", "new": "new"} {
		got, err := all.Present(driver)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	some := Drivers{Taken: []string{"new", "other"}, Renamed: map[string]string{"old": "new", "other": "third"}}
	require.False(t, some.Takes("old"), "its volumes can be snapshotted no more")
	got, err := some.Present("old")
	require.NoError(t, err)
	require.Equal(t, "new", got)
	_, err = some.Present("foreign")
	require.ErrorContains(t, err, "driver foreign is not one of those that this location serves (setting drivers: new, other)")
	_, err = some.Present("other")
	require.ErrorContains(t, err, "other (by the setting driver.other, third)")
}
