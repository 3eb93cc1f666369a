package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// inRepository is a builder with the options that make gives.
func inRepository(t *testing.T) *builder {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	tags := regexp.MustCompile(`(?m)^TAGS +:= (.*)$`).FindSubmatch(makefile)
	require.NotNil(t, tags)
	return &builder{options: options{root: root, tags: string(tags[1])}}
}

// TestLicences fails for a dependency under a licence that is not allowed, too.
func TestLicences(t *testing.T) {
	b := inRepository(t)
	list, err := b.licenceList(t.Context())
	require.NoError(t, err)
	written, err := os.ReadFile(filepath.Join(b.root, licenceDoc))
	require.NoError(t, err)
	require.Equal(t, list, string(written), "run: make licences")
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		files   map[string]string
		problem string
	}{
		"allowed":        {map[string]string{"LICENSE": isc}, ""},
		"with a notice":  {map[string]string{"LICENCE.md": isc, "NOTICE": "Made by people."}, ""},
		"none":           {map[string]string{"README": isc, "license.go": isc}, "no licence found"},
		"unknown":        {map[string]string{"LICENSE": "You may do with it what we like."}, "LICENSE: only 0 % of it"},
		"not allowed":    {map[string]string{"COPYING": unlicense}, "COPYING: Unlicense is none of Apache-2.0"},
		"below the root": {map[string]string{"LICENSE": isc, "package/LICENSE": unlicense}, "package/LICENSE: Unlicense"},
		"elsewhere":      {map[string]string{"LICENSE": isc, "other/LICENSE": unlicense}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for path, content := range test.files {
				require.NoError(t, write(filepath.Join(folder, path), []byte(content), 0o644))
			}
			m := module{path: "example.com/module", version: "v1.2.3", folder: folder, folders: map[string]bool{folder: true}}
			if _, err := os.Stat(filepath.Join(folder, "package")); err == nil {
				m.folders = map[string]bool{filepath.Join(folder, "package"): true}
			}
			all, err := judge([]module{m})
			if test.problem != "" {
				require.ErrorContains(t, err, "example.com/module@v1.2.3: "+test.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"ISC"}, all[0].licences)
			require.NotContains(t, string(notices(all)), unlicense)
			require.Contains(t, string(notices(all)), isc)
		})
	}
}

const (
	isc = `Copyright (c) 2020 Somebody

Permission to use, copy, modify, and distribute this software for any
purpose with or without fee is hereby granted, provided that the above
copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES
WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR
ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`
	unlicense = `This is free and unencumbered software released into the public domain.

Anyone is free to copy, modify, publish, use, compile, sell, or
distribute this software, either in source code form or as a compiled
binary, for any purpose, commercial or non-commercial, and by any
means.

In jurisdictions that recognize copyright laws, the author or authors
of this software dedicate any and all copyright interest in the
software to the public domain. We make this dedication for the benefit
of the public at large and to the detriment of our heirs and
successors. We intend this dedication to be an overt act of
relinquishment in perpetuity of all present and future rights to this
software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
IN NO EVENT SHALL THE AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR
OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR
OTHER DEALINGS IN THE SOFTWARE.

For more information, please refer to <https://unlicense.org>`
)
