//go:build ceph

package objectstore

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

// These tests need Ceph's own programs (on Debian: ceph-mon, ceph-mgr, ceph-osd,
// radosgw and ceph-common), so they are run by their build tag.

func TestCeph(t *testing.T) {
	conformance(t, startCeph(t), map[string]string{"partSize": "5MiB"})
}

func TestCephVirtualHosts(t *testing.T) {
	real := startCeph(t)
	conformance(t, real, map[string]string{"s3Url": "http://s3.test", "addressing": "virtual", "proxyUrl": anyHost(t, real), "partSize": "5MiB"})
}

func TestCephInServersDocument(t *testing.T) {
	requireRow(t, "ceph", featuresOf(t, overTLS(t, startCeph(t))))
}

// overTLS puts https before a server.
func overTLS(t testing.TB, s *server) *server {
	target, err := url.Parse(s.endpoint)
	require.NoError(t, err)
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(front.Close)
	secure := *s
	secure.endpoint = front.URL
	secure.caCert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}))
	return &secure
}

// ceph is a whole Ceph cluster of one of each.
type ceph struct {
	t   testing.TB
	bed *testbed.Bed
	dir string
}

func startCeph(t testing.TB) *server {
	bed := testbed.ForTest(t)
	c := &ceph{t: t, bed: bed, dir: filepath.Join(bed.Dir(), "ceph")}
	require.NoError(t, os.MkdirAll(c.dir, 0o755))
	c.configure()
	c.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", c.path("monmap"), "--keyring", c.path("keyring"))
	c.start("mon", c.healthy, "ceph-mon", "-f", "-i", "a")
	c.start("mgr", nil, "ceph-mgr", "-f", "-i", "x")
	uuid := c.uuid()
	c.run("ceph", "osd", "new", uuid, "0")
	c.run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", uuid)
	c.start("osd", c.osdUp, "ceph-osd", "-f", "-i", "0")
	return c.gateway()
}

func (c *ceph) path(name string) string { return filepath.Join(c.dir, name) }

func (c *ceph) uuid() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	require.NoError(c.t, err)
	return strings.TrimSpace(string(text))
}

func (c *ceph) configure() {
	address, fsid := freeAddress(c.t), c.uuid()
	config := fmt.Sprintf(`[global]
fsid = %[1]s
mon_host = [v2:%[2]s]
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = %[3]s/keyring
public_addr = 127.0.0.1
ms_bind_ipv6 = false
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data = %[3]s/mon
mgr_data = %[3]s/mgr
osd_data = %[3]s/osd
rgw_data = %[3]s/rgw
run_dir = %[3]s
admin_socket = %[3]s/$name.asok
log_file =
log_to_stderr = true
rgw_dns_name = s3.test
rgw_crypt_require_ssl = false
`, fsid, address, c.dir)
	require.NoError(c.t, os.WriteFile(c.path("ceph.conf"), []byte(config), 0o600))
	for _, name := range []string{"mon", "mgr", "osd", "rgw"} {
		require.NoError(c.t, os.MkdirAll(c.path(name), 0o755))
	}
	keyring := c.path("keyring")
	c.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
	for entity, caps := range map[string][]string{
		"client.admin": {"--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"},
		"mgr.x":        {"--cap", "mon", "allow profile mgr", "--cap", "osd", "allow *"},
		"osd.0":        {"--cap", "mon", "allow profile osd", "--cap", "mgr", "allow profile osd", "--cap", "osd", "allow *"},
		"client.rgw.a": {"--cap", "mon", "allow rw", "--cap", "osd", "allow rwx", "--cap", "mgr", "allow rw"},
	} {
		c.run("ceph-authtool", append([]string{keyring, "--gen-key", "-n", entity}, caps...)...)
	}
	c.run("monmaptool", "--create", "--addv", "a", "[v2:"+address+"]", "--fsid", fsid, c.path("monmap"))
}

func (c *ceph) run(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, append(args, "-c", c.path("ceph.conf"))...).CombinedOutput()
	require.NoError(c.t, err, "%s %v: %s", name, args, out)
	return string(out)
}

func (c *ceph) start(name string, ready func(context.Context) error, program string, args ...string) {
	path, err := exec.LookPath(program)
	require.NoError(c.t, err)
	_, err = c.bed.Start(c.t.Context(), testbed.Command{
		Name: name, Path: path, Args: append(args, "-c", c.path("ceph.conf")), Ready: ready,
	})
	require.NoError(c.t, err)
}

func (c *ceph) healthy(ctx context.Context) error {
	return exec.CommandContext(ctx, "ceph", "-c", c.path("ceph.conf"), "--connect-timeout", "2", "mon", "stat").Run()
}

func (c *ceph) osdUp(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "ceph", "-c", c.path("ceph.conf"), "--connect-timeout", "2", "osd", "stat").Output()
	if err == nil && !strings.Contains(string(out), "1 up") {
		err = fmt.Errorf("no osd is up: %s", out)
	}
	return err
}

// gateway starts radosgw and makes a user.
func (c *ceph) gateway() *server {
	s := &server{name: "ceph", access: rand.Text(), secret: rand.Text()}
	remember(s.secret)
	address := freeAddress(c.t)
	s.endpoint = "http://" + address
	c.start("rgw", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoint, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}, "radosgw", "-f", "-n", "client.rgw.a", "--rgw-frontends", "beast endpoint="+address)
	c.run("radosgw-admin", "user", "create", "--uid", "velero", "--display-name", "velero", "--access-key", s.access, "--secret", s.secret)
	admin, err := minio.NewCore(address, &minio.Options{Creds: credentials.NewStaticV4(s.access, s.secret, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath})
	require.NoError(c.t, err)
	s.admin = admin
	return s
}
