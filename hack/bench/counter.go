package main

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// counter is a proxy before an S3 server that counts the requests.
type counter struct {
	*httptest.Server
	count atomic.Int64
}

func startCounter(endpoint string) (*counter, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	c := &counter{}
	c.Server = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		c.count.Add(1)
		r.SetURL(target)
		r.Out.Host = r.In.Host // the signature is of it
	}})
	return c, nil
}
