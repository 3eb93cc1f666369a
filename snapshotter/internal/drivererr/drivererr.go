// Package drivererr reads the errors of CSI drivers as the sidecars pass them on:
// as text, in statuses and events. They decide how long a wait goes on, never
// whether something was done.
package drivererr

import (
	"regexp"
	"slices"
	"strings"
)

// missing are the ways to say that something is not there. The first is
// csi-snapshotter's own, for a driver that lists no such snapshot; the second is a
// driver's error.
var missing = []string{"can not find snapshot", "code = NotFound"}

// Missing tells whether a message says that the snapshot is not there.
func Missing(message string) bool {
	return slices.ContainsFunc(missing, func(part string) bool { return strings.Contains(message, part) })
}

// working are the codes that a driver gives, or a sidecar in its place, while a
// copy is under way or the storage is busy
// (https://github.com/kubernetes-sigs/azurefile-csi-driver/pull/1466).
var working = []string{"Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted", "Internal", "Unknown"}

var code = regexp.MustCompile(`code = ([A-Za-z]+)`)

// Code returns the name of the gRPC code in a message, "" if there is none.
func Code(message string) string {
	found := code.FindStringSubmatch(message)
	if found == nil {
		return ""
	}
	return found[1]
}

// MayPass tells whether the same request may succeed when the driver is done with
// what it does now, so that only the call's timeout ends the wait.
func MayPass(message string) bool {
	return slices.Contains(working, Code(message)) || strings.Contains(message, "context deadline exceeded")
}

// open are the codes after which the driver may still be at work, by the CSI
// specification as the sidecars apply it; any other code is final.
var open = []string{"Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted"}

// Final tells whether a message is a driver's answer after which it does nothing
// more.
func Final(message string) bool {
	c := Code(message)
	return c != "" && !slices.Contains(open, c)
}

// Refused tells whether the driver says that it will never do what it was asked for.
func Refused(message string) bool {
	return slices.Contains([]string{"Unimplemented", "InvalidArgument", "FailedPrecondition"}, Code(message))
}

// Elsewhere tells whether the driver may be able to make the volume in another
// place: the codes of the CSI specification for a topology that it cannot serve.
func Elsewhere(message string) bool {
	return slices.Contains([]string{"ResourceExhausted", "InvalidArgument"}, Code(message))
}
