package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// books is what the subcommand of that name prints.
type books struct {
	Volumes   []*volume      `json:"volumes"`
	Snapshots []*snapshot    `json:"snapshots"`
	Groups    []*group       `json:"groups"`
	Leftovers []string       `json:"leftovers"`
	Calls     map[string]int `json:"calls"`
}

func runBooks(args []string, stdout io.Writer) error {
	flags := newFlagSet("books")
	data := flags.String("data", "", "folder of the storage (required)")
	calls := flags.String("call-log", "", "call log (default DATA/calls.log)")
	if err := parseFlags(flags, args, stdout); err != nil {
		return err
	}
	if *data == "" {
		return &usageError{errors.New("--data is required")}
	}
	if *calls == "" {
		*calls = filepath.Join(*data, "calls.log")
	}
	found, err := readBooks(*data, *calls)
	if err != nil {
		return fmt.Errorf("read the books of %s: %w", *data, err)
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(found)
}

// readBooks needs no lock, so it answers while drivers work; volumes and
// snapshots are each as complete as a listing is.
func readBooks(data, calls string) (*books, error) {
	store := storeAt(data)
	var found books
	var err error
	if found.Volumes, err = store.volumes.list(); err != nil {
		return nil, err
	}
	if found.Snapshots, err = store.snapshots.list(); err != nil {
		return nil, err
	}
	if found.Groups, err = store.groups.list(); err != nil {
		return nil, err
	}
	if found.Leftovers, err = store.leftovers(); err != nil {
		return nil, err
	}
	found.Calls, err = countCalls(calls)
	return &found, err
}
