package classes

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// template is how the parameters of a class name a secret: a name and a namespace
// in which ${token} stands for what differs from volume to volume. The sidecars
// of kubernetes-csi resolve them by os.Expand, and so does this package.
type template struct {
	namespaceKey, nameKey string // the parameters
	namespace, name       string // their values
}

// templateOf reads the template of a pair of parameters, nil if there is none.
func templateOf(parameters map[string]string, namespaceKey, nameKey string) (*template, error) {
	namespace, hasNamespace := parameters[namespaceKey]
	name, hasName := parameters[nameKey]
	if !hasNamespace && !hasName {
		return nil, nil
	}
	if namespace == "" || name == "" {
		return nil, fmt.Errorf("the parameters %s (%q) and %s (%q) name a secret only together", namespaceKey, namespace, nameKey, name)
	}
	return &template{namespaceKey, nameKey, namespace, name}, nil
}

func (t *template) isFixed() bool { return !strings.Contains(t.namespace+t.name, "$") }

// resolve fills in the tokens, of which namespace and name may use others.
func (t *template) resolve(namespaceTokens, nameTokens map[string]string) (ids.SecretRef, error) {
	namespace, err := expand(t.namespaceKey, t.namespace, namespaceTokens)
	if err != nil {
		return ids.SecretRef{}, err
	}
	name, err := expand(t.nameKey, t.name, nameTokens)
	if err != nil {
		return ids.SecretRef{}, err
	}
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		return ids.SecretRef{}, fmt.Errorf("the parameter %s (%q) resolves to %q, which is no name of a namespace", t.namespaceKey, t.namespace, ids.Short(namespace))
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return ids.SecretRef{}, fmt.Errorf("the parameter %s (%q) resolves to %q, which is no name of a Secret", t.nameKey, t.name, ids.Short(name))
	}
	return ids.SecretRef{Namespace: namespace, Name: name}, nil
}

func expand(parameter, text string, tokens map[string]string) (string, error) {
	var missing []string
	resolved := os.Expand(text, func(token string) string {
		value := tokens[token]
		if value == "" {
			missing = append(missing, "${"+token+"}")
		}
		return value
	})
	if len(missing) > 0 {
		slices.Sort(missing)
		return "", fmt.Errorf("the parameter %s (%q) names a secret by %s, which is not known here", parameter, text, strings.Join(slices.Compact(missing), ", "))
	}
	return resolved, nil
}

// fits tells whether value, the name of an object, may be what text resolves to:
// an annotation may stand for any name, other tokens for what they are known to be.
func fits(text, value string, tokens map[string]string) bool {
	known := true
	pattern := os.Expand(text, func(token string) string {
		if strings.HasPrefix(token, "pvc.annotations[") {
			return "*"
		}
		known = known && tokens[token] != ""
		return tokens[token]
	})
	matched, err := path.Match(pattern, value)
	return known && matched && err == nil && len(validation.IsDNS1123Subdomain(value)) == 0
}
