//go:build !linux

package objectstore

import "net"

func sendQueue(net.Conn) int { return -1 }
