package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// statement says something of files and images, as in-toto defines it:
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     any       `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

func about(name, sha256 string) subject { return subject{name, map[string]string{"sha256": sha256}} }

func state(predicateType string, predicate any, subjects ...subject) statement {
	return statement{"https://in-toto.io/Statement/v1", subjects, predicateType, predicate}
}

// statements are those that the release workflow attests, by a name for each: of
// which sources all was built, and what is in the images.
func (b *builder) statements(sums []byte) (map[string]statement, error) {
	digests, err := b.digests()
	if err != nil {
		return nil, err
	}
	built := []subject{about(imageName, digests[0].sha256)}
	for line := range bytes.Lines(sums) {
		sum, file, _ := strings.Cut(strings.TrimSpace(string(line)), "  ")
		built = append(built, about(file, sum))
	}
	all := map[string]statement{"provenance": state("https://slsa.dev/provenance/v1", b.provenance(), built...)}
	for _, d := range digests[1:] {
		content, err := os.ReadFile(b.named("linux_" + d.of + ".cdx.json"))
		if err != nil {
			return nil, fmt.Errorf("nothing is released yet: make release: %w", err)
		}
		all["sbom_"+d.of] = state("https://cyclonedx.org/bom", json.RawMessage(content), about(imageName, d.sha256))
	}
	return all, nil
}

// provenance is the predicate of https://slsa.dev/spec/v1.1/provenance.
func (b *builder) provenance() any {
	type object = map[string]any
	return object{
		"buildDefinition": object{
			"buildType":          homepage + "/blob/main/docs/release.md",
			"externalParameters": object{"version": b.version, "tags": b.tags, "ldflags": b.ldflags},
			"resolvedDependencies": []object{{
				"uri": "git+" + homepage, "digest": object{"gitCommit": b.revision},
			}},
		},
		"runDetails": object{"builder": object{"id": homepage + "/blob/main/docs/release.md#a-rehearsal"}},
	}
}
