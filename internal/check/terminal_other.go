//go:build !windows

package check

import "os"

// escapes tells whether a terminal takes the sequences for colours and for lines that
// are written over.
func escapes(*os.File) bool { return true }
