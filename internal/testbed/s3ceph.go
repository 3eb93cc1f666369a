package testbed

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// CephServer is radosgw before a Ceph cluster of one monitor and one OSD, which
// keeps the objects in memory, LGPL-2.1.
var CephServer = S3Server{
	Name: "ceph", Part: Ceph, Program: "usr/bin/radosgw", Prepare: prepareCeph, Command: gatewayCommand,
}

// CephDomain is what a bucket's name may stand before, with addressing by host.
const CephDomain = "s3.test"

// cephTimeout bounds each of the tools that set the cluster up.
const cephTimeout = time.Minute

// ceph is a cluster. It needs no manager, which only counts, and none of the
// Python tools: the maps are made beforehand, and a daemon's state is read from
// its socket.
type ceph struct {
	bed  *Bed
	run  S3Run
	dir  string
	fsid string
	// sockets are those of mon.a and osd.0, by which they tell their state.
	sockets map[string]string
}

func cephDir(r S3Run) string { return filepath.Join(filepath.Dir(r.DataDir), "ceph") }

func cephEnv(r S3Run) []string { return []string{"LD_LIBRARY_PATH=" + Ceph.debian.libraryPath(r.Part)} }

// gatewayCommand runs radosgw.
func gatewayCommand(r S3Run) (args, env []string) {
	frontend := "beast endpoint=" + r.Address
	if r.CertDir != "" {
		frontend = fmt.Sprintf("beast ssl_endpoint=%s ssl_certificate=%s ssl_private_key=%s",
			r.Address, filepath.Join(r.CertDir, "public.crt"), filepath.Join(r.CertDir, "private.key"))
	}
	return []string{"-f", "-n", "client.rgw.a", "-c", filepath.Join(cephDir(r), "ceph.conf"), "--rgw-frontends", frontend}, cephEnv(r)
}

// prepareCeph starts the cluster and makes the gateway's first user.
func prepareCeph(ctx context.Context, b *Bed, r S3Run) error {
	c := &ceph{bed: b, run: r, dir: cephDir(r), fsid: newUUID(), sockets: map[string]string{}}
	for _, daemon := range []string{"mon.a", "osd.0"} {
		socket, err := b.socket(r.Name + "-" + daemon)
		if err != nil {
			return err
		}
		c.sockets[daemon] = socket
	}
	if err := c.startMonitor(ctx); err != nil {
		return err
	}
	if err := c.startOSD(ctx); err != nil {
		return err
	}
	return c.tool(ctx, "radosgw-admin", "user", "create", "--uid", "velero", "--display-name", "velero",
		"--access-key", r.AccessKey, "--secret", r.SecretKey)
}

// startMonitor makes the cluster again for each port that is tried, since the
// port is in the monitor's store.
func (c *ceph) startMonitor(ctx context.Context) error {
	var made error
	_, err := c.bed.startOnPorts(ctx, c.run.Name+"-mon", 1, func(ports []int) Command {
		made = c.make(ctx, address(ports[0]))
		return c.daemon("ceph-mon", "mon.a", "mon_status", "leader")
	})
	if made != nil {
		return made
	}
	return err
}

func (c *ceph) startOSD(ctx context.Context) error {
	if err := c.tool(ctx, "ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", newUUID()); err != nil {
		return err
	}
	osd := c.daemon("ceph-osd", "osd.0", "status", "active")
	osd.Name = c.run.Name + "-osd"
	_, err := c.bed.Start(ctx, osd)
	return err
}

// make writes the configuration, the keys, the maps and the monitor's store.
func (c *ceph) make(ctx context.Context, monitor string) error {
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("make a ceph cluster: %w", err)
	}
	for _, name := range []string{"mon", "osd", "rgw"} {
		if err := os.MkdirAll(c.path(name), 0o755); err != nil {
			return fmt.Errorf("make a ceph cluster: %w", err)
		}
	}
	for name, text := range map[string]string{"ceph.conf": c.config(monitor), "mime.types": ""} {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("make a ceph cluster: %w", err)
		}
	}
	for _, step := range c.steps(monitor) {
		if err := c.tool(ctx, step[0], step[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func (c *ceph) steps(monitor string) [][]string {
	keyring, monmap, osdmap := c.path("keyring"), c.path("monmap"), c.path("osdmap")
	return [][]string{
		{"ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"},
		{"ceph-authtool", keyring, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *"},
		{"ceph-authtool", keyring, "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"},
		{"ceph-authtool", keyring, "--gen-key", "-n", "client.rgw.a", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx"},
		{"monmaptool", "--create", "--addv", "a", "[v2:" + monitor + "]", "--fsid", c.fsid, monmap},
		{"osdmaptool", "--createsimple", "1", osdmap},
		{"ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--osdmap", osdmap, "--keyring", keyring},
	}
}

// config is for one copy of each object, in memory. The short paxos times are
// what makes a cluster be there in seconds.
func (c *ceph) config(monitor string) string {
	libraries := Ceph.debian.libraries(c.run.Part)
	return fmt.Sprintf(`[global]
fsid = %[1]s
mon_host = [v2:%[2]s]
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = %[3]s/keyring
public_addr = 127.0.0.1
ms_bind_ipv6 = false
mon_data = %[3]s/mon
osd_data = %[3]s/osd
rgw_data = %[3]s/rgw
run_dir = %[3]s
admin_socket =
log_file =
log_to_stderr = true
debug_rocksdb = 0/0
plugin_dir = %[4]s/ceph
erasure_code_dir = %[4]s/ceph/erasure-code
osd_class_dir = %[4]s/rados-classes
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
rgw_dns_name = %[5]s
rgw_mime_types_file = %[3]s/mime.types
[mon.a]
admin_socket = %[6]s
[osd.0]
admin_socket = %[7]s
`, c.fsid, monitor, c.dir, libraries, CephDomain, c.sockets["mon.a"], c.sockets["osd.0"])
}

func (c *ceph) path(name string) string { return filepath.Join(c.dir, name) }

func (c *ceph) program(name string) string { return filepath.Join(c.run.Part, "usr/bin", name) }

// tool runs one of Ceph's programs to its end.
func (c *ceph) tool(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, cephTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.program(name), append(args, "-c", c.path("ceph.conf"))...)
	cmd.Dir = c.dir
	cmd.Env = cephEnv(c.run)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make a ceph cluster: %s %s: %w\n%s", name, args[0], err, lastLines(string(out), tailLines))
	}
	return nil
}

// daemon runs mon.a or osd.0 until it answers command with the state.
func (c *ceph) daemon(program, name, command, state string) Command {
	return Command{
		Path: c.program(program), Args: []string{"-f", "-i", name[len("mon."):], "-c", c.path("ceph.conf")},
		Env: cephEnv(c.run), Dir: c.dir,
		Ready: func(ctx context.Context) error {
			now, err := cephState(ctx, c.sockets[name], command)
			if err == nil && now != state {
				err = fmt.Errorf("%s is %q and not %q", name, now, state)
			}
			return err
		},
	}
}

// cephState asks a daemon by its socket. The answer comes with its length.
func cephState(ctx context.Context, socket, command string) (string, error) {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(connection, "{\"prefix\":%q}\x00", command); err != nil {
		return "", err
	}
	var length uint32
	if err := binary.Read(connection, binary.BigEndian, &length); err != nil {
		return "", err
	}
	var answer struct{ State string }
	err = json.NewDecoder(io.LimitReader(connection, int64(length))).Decode(&answer)
	return answer.State, err
}

// newUUID is a random UUID, of version 4.
func newUUID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
