//go:build !linux

package objectstore

import "net"

func acked(net.Conn) uint64 { return 0 }
