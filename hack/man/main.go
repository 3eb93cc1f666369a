// Command man writes the manual pages of the commands into a folder:
//
//	go run ./hack/man FOLDER
//
// SOURCE_DATE_EPOCH in the environment is their date.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/longshore-dev/velero-plugin/internal/cli"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("one folder, not %q", args)
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return err
	}
	return doc.GenManTree(cli.Tree(), &doc.GenManHeader{Source: "Longshore", Manual: "Longshore"}, args[0])
}
