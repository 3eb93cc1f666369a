package main

import (
	"bytes"
	"fmt"
	"strings"
)

const noticesHead = `Longshore's binary contains the software listed here, each under its own licence.
The texts of all licences and notices follow in the same order. The sources of
each module, in the version named, are at the address named.

`

// notices are what the binary's recipients are to be told of what is in it.
func notices(all []judged) []byte {
	var out bytes.Buffer
	out.WriteString(noticesHead)
	for _, j := range all {
		fmt.Fprintf(&out, "%s %s\n  licence: %s\n  sources: %s\n", j.path, j.version, strings.Join(j.licences, ", "), j.sources())
	}
	for _, j := range all {
		for _, t := range j.texts {
			fmt.Fprintf(&out, "\n%s\n%s %s: %s\n%s\n\n", rule, j.path, j.version, t.file, rule)
			out.Write(bytes.TrimRight(t.content, "\n"))
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

var rule = strings.Repeat("-", 80)

// sources is where a module's sources are: the path of a module is an address
// that leads there.
func (m module) sources() string {
	if m.path == "std" {
		return "https://go.dev/dl/#" + m.version
	}
	return "https://" + m.path
}
