package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// counter is a proxy before an S3 server that counts the requests.
type counter struct {
	listener net.Listener
	server   *http.Server
	ended    chan error
	count    atomic.Int64
}

func startCounter(ctx context.Context, endpoint string) (*counter, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	c := &counter{ended: make(chan error, 1)}
	if c.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	c.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		c.count.Add(1)
		r.SetURL(target)
		r.Out.Host = r.In.Host // the signature is of it
	}}}
	go func() { c.ended <- c.server.Serve(c.listener) }()
	return c, nil
}

func (c *counter) url() string { return "http://" + c.listener.Addr().String() }

func (c *counter) close() error {
	err := c.server.Close()
	if ended := <-c.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
