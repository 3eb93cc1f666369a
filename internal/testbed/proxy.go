package testbed

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// ProxyOptions choose a reverse proxy.
type ProxyOptions struct {
	// Name names the process and its folder; it is unique in the bed.
	Name   string
	Server ProxyServer
	// Config is what a user would write, a text/template over ProxyRun.
	Config string
	// Target is the host:port that is passed to Config.
	Target string
}

// ProxyRun is what the configuration of a reverse proxy may refer to.
type ProxyRun struct {
	// HTTP and HTTPS are the addresses, 127.0.0.1:PORT, of which it listens on
	// HTTP at least.
	HTTP, HTTPS string
	// Target is ProxyOptions.Target.
	Target string
	// CertDir holds public.crt, private.key and both.pem, which is both in one.
	CertDir string
}

// Proxy is a reverse proxy under way.
type Proxy struct {
	*Process
	ProxyRun
	// CA is the PEM of the CA of its https.
	CA []byte
}

// StartProxy starts a reverse proxy and waits until it listens.
func (b *Bed) StartProxy(ctx context.Context, o ProxyOptions) (*Proxy, error) {
	part, err := path(ctx, b.progress, o.Server.Part)
	if err != nil {
		return nil, err
	}
	config, err := template.New(o.Name).Parse(fmt.Sprintf(o.Server.frame, o.Config))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	p := &Proxy{ProxyRun: ProxyRun{Target: o.Target}}
	if p.CertDir, err = b.folder(o.Name, "certs"); err != nil {
		return nil, err
	}
	if p.CA, err = proxyCertificates(p.CertDir); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	dir := filepath.Dir(p.CertDir)
	var written error
	p.Process, err = b.startOnPorts(ctx, o.Name, 2, func(ports []int) Command {
		p.HTTP, p.HTTPS = address(ports[0]), address(ports[1])
		written = writeTemplate(filepath.Join(dir, "proxy.conf"), config, p.ProxyRun)
		return Command{
			Path: filepath.Join(part, o.Server.program), Args: o.Server.args(dir), Dir: dir,
			Env:   []string{"LD_LIBRARY_PATH=" + o.Server.Part.debian.libraryPath(part)},
			Ready: listens(p.HTTP),
		}
	})
	if written != nil {
		return nil, written
	}
	return p, err
}

// proxyCertificates is certificates, with the file that HAProxy wants.
func proxyCertificates(dir string) (ca []byte, err error) {
	if ca, err = certificates(dir); err != nil {
		return nil, err
	}
	var both strings.Builder
	for _, name := range []string{"public.crt", "private.key"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		both.Write(text)
	}
	return ca, os.WriteFile(filepath.Join(dir, "both.pem"), []byte(both.String()), 0o600)
}

func writeTemplate(file string, t *template.Template, values any) error {
	var text strings.Builder
	if err := t.Execute(&text, values); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

// listens is a probe that is content when somebody accepts connections.
func listens(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}
