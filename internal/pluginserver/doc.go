// Package pluginserver speaks Velero's plugin protocol: hashicorp/go-plugin
// carrying the gRPC services of Velero's generated protobufs.
//
// Velero starts the binary, reads one handshake line from its standard output,
// asks the PluginLister what is inside, and calls Init on a plugin before any
// other method. This package gives every method a context that ends with the
// caller, lets Velero see the real error of a failed upload, swaps the settings
// of a plugin whole, turns a panic into an error, and writes logs that Velero
// shows as its own. What a plugin does stands behind the interfaces of
// interfaces.go.
//
// The rules of the protocol are those of Velero 1.18, pkg/plugin/framework and
// pkg/plugin/clientmgmt.
package pluginserver
