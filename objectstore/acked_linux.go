package objectstore

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"
)

// acked returns how many bytes of what was sent over c the other side has taken,
// 0 where the system does not tell (tcpi_bytes_acked in linux/tcp.h).
func acked(c net.Conn) uint64 {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	const offset = 120
	var info [offset + 8]byte
	size := uint32(len(info))
	_ = raw.Control(func(fd uintptr) { // a closed connection tells nothing
		_, _, _ = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // the kernel writes there
	})
	return binary.NativeEndian.Uint64(info[offset:])
}
