package check

import (
	"os"

	"golang.org/x/sys/windows"
)

// escapes tells whether a terminal takes the sequences for colours and for lines that
// are written over. A console of Windows has to be told to.
func escapes(file *os.File) bool {
	console := windows.Handle(file.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
