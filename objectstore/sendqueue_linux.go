package objectstore

import (
	"crypto/tls"
	"net"
	"syscall"
	"unsafe"
)

// sendQueue returns how many bytes that were written to c the other side has not
// yet taken (SIOCOUTQ of tcp(7)), -1 where the system does not tell.
func sendQueue(c net.Conn) int {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1
	}
	queued := int32(-1)
	err = raw.Control(func(fd uintptr) {
		_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&queued))) //nolint:gosec // the kernel writes there
		if failed != 0 {
			queued = -1
		}
	})
	if err != nil {
		return -1
	}
	return int(queued)
}
