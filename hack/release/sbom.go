package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

const sbomModule = "hack/tools/cyclonedx-gomod/go.mod"

// billOfMaterials lists the modules of the binary as CycloneDX. It is read from
// the binary itself; the licences are those that we found.
func (b *builder) billOfMaterials(ctx context.Context, p platform, all []judged) ([]byte, error) {
	// The tool is a program for this machine, so it is not told the platform.
	raw, err := b.goToolWith(ctx, nil, "tool", "-modfile="+filepath.FromSlash(sbomModule), "cyclonedx-gomod",
		"bin", "-json", "-noserial", "-notimestamp", "-std", "-version", b.version, b.program(p))
	if err != nil {
		return nil, err
	}
	var bill map[string]any
	if err := json.Unmarshal(raw, &bill); err != nil {
		return nil, fmt.Errorf("bill of materials: %w", err)
	}
	if err := complete(bill, all); err != nil {
		return nil, fmt.Errorf("bill of materials: %w", err)
	}
	return encode(bill)
}

// complete adds the licences, and takes out the checksums of the tool, which
// differ between machines.
func complete(bill map[string]any, all []judged) error {
	metadata, _ := bill["metadata"].(map[string]any)
	tools, _ := metadata["tools"].([]any)
	for _, tool := range tools {
		if tool, ok := tool.(map[string]any); ok {
			delete(tool, "hashes")
		}
	}
	if main, ok := metadata["component"].(map[string]any); ok {
		main["licenses"] = spdx([]string{"Apache-2.0"})
	}
	licences := map[string][]string{}
	for _, j := range all {
		licences[j.path+"@"+j.version] = j.licences
	}
	return license(bill, licences)
}

// license adds the licences of the components, which must be the modules that
// were judged, neither more nor fewer.
func license(bill map[string]any, licences map[string][]string) error {
	components, _ := bill["components"].([]any)
	if len(components) != len(licences) {
		return fmt.Errorf("%d modules are linked, but the binary names %d", len(licences), len(components))
	}
	for _, c := range components {
		component, _ := c.(map[string]any)
		id := fmt.Sprint(component["name"], "@", component["version"])
		found, known := licences[id]
		if !known {
			return fmt.Errorf("%s is in the binary, but its licence was not judged", strings.TrimSpace(id))
		}
		component["licenses"] = spdx(found)
	}
	return nil
}

func spdx(ids []string) []any {
	var all []any
	for _, id := range ids {
		all = append(all, map[string]any{"license": map[string]any{"id": id}})
	}
	return all
}

func encode(bill map[string]any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(bill)
	return out.Bytes(), err
}
