package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licences, by their SPDX identifiers, whose terms a binary under
// Apache-2.0 meets by carrying their texts along. MPL-2.0 also wants the way to
// its sources told, which the notices do.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// recognized is the part of a text, in percent, that must be the wording of
// known licences; the rest is names and years.
const recognized = 75

// judged is a module with its licences.
type judged struct {
	module
	licences []string
	texts    []text
}

// text is a licence or a notice.
type text struct {
	file    string
	content []byte
}

// judge finds the licences of modules. Every module with a licence that is
// unknown or not allowed is in the error.
func judge(modules []module) ([]judged, error) {
	var all []judged
	var problems []error
	for _, m := range modules {
		j, err := m.judge()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s@%s: %w", m.path, m.version, err))
		}
		all = append(all, j)
	}
	return all, errors.Join(problems...)
}

func (m module) judge() (judged, error) {
	j := judged{module: m}
	files, err := m.legalFiles()
	if err != nil {
		return j, err
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(m.folder, filepath.FromSlash(file)))
		if err != nil {
			return j, err
		}
		j.texts = append(j.texts, text{file, content})
		if !licenceName.MatchString(filepath.Base(file)) {
			continue
		}
		licences, err := licencesOf(content)
		if err != nil {
			return j, fmt.Errorf("%s: %w", file, err)
		}
		j.licences = append(j.licences, licences...)
	}
	slices.Sort(j.licences)
	j.licences = slices.Compact(j.licences)
	if len(j.licences) == 0 {
		return j, errors.New("no licence found")
	}
	return j, nil
}

// licencesOf returns the licences of a text. A text that is not known, or that
// has one that is not allowed, is an error.
func licencesOf(content []byte) ([]string, error) {
	cover := licensecheck.Scan(content)
	if cover.Percent < recognized {
		return nil, fmt.Errorf("only %.0f %% of it is the wording of a known licence", cover.Percent)
	}
	var licences []string
	for _, match := range cover.Match {
		if match.IsURL {
			continue // an appendix or a header points to the text
		}
		if !slices.Contains(allowed, match.ID) {
			return nil, fmt.Errorf("%s is none of %s", match.ID, strings.Join(allowed, ", "))
		}
		licences = append(licences, match.ID)
	}
	return licences, nil
}

// licences judges the dependencies for every platform and lists them in the
// docs.
func (b *builder) licences(ctx context.Context) error {
	list, err := b.licenceList(ctx)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(b.root, filepath.FromSlash(licenceDoc)), []byte(list), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(b.progress, "all licences are allowed; %s lists them\n", licenceDoc)
	return nil
}

const licenceDoc = "docs/licences.md"

const licenceHead = `# Licences

<!-- Written by "make licences" from the modules that are linked. -->

Longshore is under the Apache License 2.0. These modules of others are linked
into its binaries. Their licences and notices, whole, are in the file
THIRD_PARTY_NOTICES of every archive and in the folder /licenses of the container
image. The tests fail for a module under any licence but
%s.

| module | version | licence |
| --- | --- | --- |
`

// licenceList is the content of the list. Go's own library is in it without a
// version, which is that of the Go that builds.
func (b *builder) licenceList(ctx context.Context) (string, error) {
	var rows []string
	for _, p := range append(slices.Clone(images), machines...) {
		modules, err := b.modules(ctx, p)
		if err != nil {
			return "", err
		}
		all, err := judge(modules)
		if err != nil {
			return "", err
		}
		for _, j := range all[1:] {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", j.path, j.version, strings.Join(j.licences, ", ")))
		}
	}
	slices.Sort(rows)
	rows = slices.Compact(rows)
	last := len(allowed) - 1
	head := fmt.Sprintf(licenceHead, strings.Join(allowed[:last], ", ")+" or "+allowed[last])
	return head + "| Go's standard library | | BSD-3-Clause |\n" + strings.Join(rows, ""), nil
}
