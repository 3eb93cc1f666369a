package objectstore

import (
	"context"
	"io"
	"net"
)

// conn is a connection to the storage that sends a body straight from where it
// lies. net/http copies a body 32 KiB by 32 KiB, with a system call for each.
type conn struct{ *net.TCPConn }

// dialing has every TCP connection made by dial be a conn.
func dialing(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			return conn{tcp}, err
		}
		return c, err
	}
}

// ReadFrom implements io.ReaderFrom, with which net/http sends the body of a
// request: a sentBody, limited to the length that the request names.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{c.TCPConn}, r)
	}
	body, ok := limited.R.(*sentBody)
	if !ok || body.size-body.sent > limited.N {
		return io.Copy(struct{ io.Writer }{c.TCPConn}, r)
	}
	n, err := body.WriteTo(c.TCPConn)
	limited.N -= n
	return n, err
}
