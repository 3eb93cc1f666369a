package testbed

// Age is the program that opens what the plugin encrypts, and is no part of it.
var Age = Part{Name: "age", Module: "hack/tools/age", Package: "filippo.io/age/cmd/age", versionOf: "filippo.io/age"}
