package check

import (
	"context"
	"path"
	"strings"
)

// workload is what a check reads of a Deployment and its like.
type workload struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Template struct {
			Spec podSpec `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		ReadyReplicas int `json:"readyReplicas"` // of a Deployment or StatefulSet
		NumberReady   int `json:"numberReady"`   // of a DaemonSet
	} `json:"status"`
}

type podSpec struct {
	ServiceAccountName string      `json:"serviceAccountName"`
	Containers         []container `json:"containers"`
	Volumes            []volume    `json:"volumes"`
}

type container struct {
	Image        string        `json:"image"`
	Args         []string      `json:"args"`
	Env          []variable    `json:"env"`
	VolumeMounts []volumeMount `json:"volumeMounts"`
}

type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type volumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	SubPath   string `json:"subPath"`
}

type volume struct {
	Name   string `json:"name"`
	Secret *struct {
		SecretName string `json:"secretName"`
		Items      []struct {
			Key  string `json:"key"`
			Path string `json:"path"`
		} `json:"items"`
	} `json:"secret"`
}

// server reads Velero's Deployment.
func (c *Cluster) server(ctx context.Context) (*workload, error) {
	var w workload
	return &w, c.get(ctx, c.namespaced("/apis/apps/v1", "deployments", "velero"), &w)
}

// Features are those that Velero's server runs with, by the arguments of its Deployment.
func (c *Cluster) Features(ctx context.Context) ([]string, error) {
	w, err := c.server(ctx)
	return w.argument("--features"), err
}

func (w *workload) uses(image string) bool {
	for _, c := range w.Spec.Template.Spec.Containers {
		if strings.Contains(c.Image, image) {
			return true
		}
	}
	return false
}

func (w *workload) ready() bool { return w.Status.ReadyReplicas+w.Status.NumberReady > 0 }

// credentials is the key of the Secret that AWS_SHARED_CREDENTIALS_FILE of a
// container leads to, nil if there is none.
func (w *workload) credentials() *secretKey {
	pod := w.Spec.Template.Spec
	for _, c := range pod.Containers {
		for _, mount := range c.VolumeMounts {
			file, below := strings.CutPrefix(c.variable("AWS_SHARED_CREDENTIALS_FILE"), mount.MountPath)
			if key := pod.secretKey(mount.Name, path.Join(mount.SubPath, file)); below && key != nil {
				return key
			}
		}
	}
	return nil
}

func (c *container) variable(name string) string {
	for _, v := range c.Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// secretKey is the key that a file of a volume holds, nil if the volume is not a
// Secret.
func (p *podSpec) secretKey(name, file string) *secretKey {
	file = strings.TrimPrefix(file, "/")
	for _, v := range p.Volumes {
		if v.Name != name || v.Secret == nil {
			continue
		}
		for _, item := range v.Secret.Items {
			if item.Path == file {
				return &secretKey{v.Secret.SecretName, item.Key}
			}
		}
		return &secretKey{v.Secret.SecretName, file}
	}
	return nil
}

// argument are the values of a flag of the containers, which commas part.
func (w *workload) argument(flag string) []string {
	var values []string
	for _, c := range w.Spec.Template.Spec.Containers {
		for i, arg := range c.Args {
			value, found := strings.CutPrefix(arg, flag+"=")
			if arg == flag && i+1 < len(c.Args) {
				value, found = c.Args[i+1], true
			}
			if found {
				values = append(values, strings.Split(value, ",")...)
			}
		}
	}
	return values
}
