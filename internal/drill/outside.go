package drill

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/backups"
)

// outside tells what of an item reaches beyond its namespace when it is restored
// beside the original.
func outside(i *backups.Item) []string {
	look := outsiders[i.Kind]
	if look == nil {
		return nil
	}
	var all []string
	for _, text := range look(i) {
		all = append(all, fmt.Sprintf("%s %s %s", i.Kind, clean(i.ID()), clean(text)))
	}
	return all
}

var outsiders = map[string]func(*backups.Item) []string{
	"Service":   service,
	"Ingress":   hosts,
	"HTTPRoute": hostnames, "GRPCRoute": hostnames, "TLSRoute": hostnames,
	"Route":          routeHost,
	"Gateway":        func(*backups.Item) []string { return []string{"opens a way in from outside"} },
	"VirtualService": func(*backups.Item) []string { return []string{"changes the routes of a mesh"} },
	"CronJob":        cronJob,
}

func service(i *backups.Item) []string {
	var spec struct {
		Type           string   `json:"type"`
		ExternalName   string   `json:"externalName"`
		LoadBalancerIP string   `json:"loadBalancerIP"`
		ExternalIPs    []string `json:"externalIPs"`
	}
	if json.Unmarshal(i.Spec, &spec) != nil {
		return nil
	}
	var all []string
	switch spec.Type {
	case "ExternalName":
		all = append(all, "leads to "+spec.ExternalName)
	case "LoadBalancer":
		all = append(all, "asks for a load balancer"+fixed(spec.LoadBalancerIP, i.Metadata.Annotations))
	}
	if len(spec.ExternalIPs) > 0 {
		all = append(all, "takes the addresses "+strings.Join(spec.ExternalIPs, ", "))
	}
	return append(all, names(i)...)
}

// fixed says by which address a load balancer would be the original's.
func fixed(address string, annotations map[string]string) string {
	if address != "" {
		return " with the address " + address
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if addressed.MatchString(key) && annotations[key] != "" {
			return " with " + key + "=" + annotations[key]
		}
	}
	return ""
}

// addressed matches the annotations by which clouds and MetalLB give addresses.
var addressed = regexp.MustCompile(`(?i)[/-](ips?|loadbalancerips?|addresses|address|eip-allocations|hostname)$`)

// names are what external-dns would make of it.
func names(i *backups.Item) []string {
	if name := i.Metadata.Annotations["external-dns.alpha.kubernetes.io/hostname"]; name != "" {
		return []string{"asks for the DNS name " + name}
	}
	return nil
}

func hosts(i *backups.Item) []string {
	var all []string
	for _, rule := range field[[]struct{ Host string }](i.Spec, "rules") {
		if rule.Host != "" {
			all = append(all, "answers for "+rule.Host)
		}
	}
	return append(all, names(i)...)
}

func hostnames(i *backups.Item) []string {
	var all []string
	for _, host := range field[[]string](i.Spec, "hostnames") {
		all = append(all, "answers for "+host)
	}
	return all
}

func routeHost(i *backups.Item) []string {
	if host := field[string](i.Spec, "host"); host != "" {
		return []string{"answers for " + host}
	}
	return nil
}

func cronJob(i *backups.Item) []string {
	if field[bool](i.Spec, "suspend") {
		return nil
	}
	return []string{"runs at " + field[string](i.Spec, "schedule")}
}
