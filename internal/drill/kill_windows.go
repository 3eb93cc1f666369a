package drill

import "os/exec"

// endTogether leaves a command as it is: its children may outlive it.
func endTogether(*exec.Cmd) {}

func endRest(*exec.Cmd) {}
