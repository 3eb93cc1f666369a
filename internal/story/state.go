package story

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// State is all that the application holds: for each file, link, ConfigMap and
// Secret, by a readable name, what is in it.
type State map[string]string

// ReadState reads the application's state in a namespace.
func ReadState(ctx context.Context, cluster *testbed.Cluster, namespace string) (State, error) {
	state := State{}
	for claim := range claims {
		dir, err := cluster.ClaimDir(ctx, namespace, claim)
		if err != nil {
			return nil, err
		}
		if err := state.addFiles("claim "+claim, dir); err != nil {
			return nil, fmt.Errorf("read the files of claim %s: %w", claim, err)
		}
	}
	return state, state.addConfig(ctx, cluster, namespace)
}

func (s State) addFiles(name, dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		s[name+": "+below], err = describe(path, entry)
		return err
	})
}

// describe returns a file's mode and checksum, or a link's target.
func describe(path string, entry fs.DirEntry) (string, error) {
	if entry.Type()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		return "link to " + target, err
	}
	info, err := entry.Info()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(path)
	return fmt.Sprintf("%s %x", info.Mode(), sha256.Sum256(content)), err
}

func (s State) addConfig(ctx context.Context, cluster *testbed.Cluster, namespace string) error {
	ours := metav1.ListOptions{LabelSelector: "app=shop"}
	configs, err := cluster.Kube.CoreV1().ConfigMaps(namespace).List(ctx, ours)
	if err != nil {
		return err
	}
	for _, config := range configs.Items {
		s["ConfigMap "+config.Name] = fmt.Sprint(config.Data)
	}
	secrets, err := cluster.Kube.CoreV1().Secrets(namespace).List(ctx, ours)
	if err != nil {
		return err
	}
	for _, secret := range secrets.Items {
		s["Secret "+secret.Name] = fmt.Sprintf("%x", secret.Data)
	}
	return nil
}

// Compare returns an error that names all that differs between what was and
// what is. It never prints what is in a Secret.
func Compare(was, is State) error {
	if len(was) == 0 {
		return errors.New("nothing to compare with: the application was empty before")
	}
	var differences []string
	for _, name := range slices.Sorted(maps.Keys(was)) {
		now, there := is[name]
		switch {
		case !there:
			differences = append(differences, name+" is missing")
		case now != was[name]:
			differences = append(differences, name+" differs")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if _, there := was[name]; !there {
			differences = append(differences, name+" was not there before")
		}
	}
	if len(differences) > 0 {
		return errors.New(strings.Join(differences, "; "))
	}
	return nil
}
