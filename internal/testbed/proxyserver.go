package testbed

import "path/filepath"

// ProxyServer is a kind of reverse proxy, as people put before their storage.
type ProxyServer struct {
	Name string
	Part Part
	// program is the proxy's path within the part.
	program string
	// frame is the configuration around that of the test.
	frame string
	// args are the program's, with the folder of the configuration.
	args func(dir string) []string
}

// Nginx and HAProxy are the programs behind NginxServer and HAProxyServer.
var (
	Nginx = Part{
		Name: "nginx", make: fetchDebian,
		debian: &debianPart{
			release: "bookworm", title: "Debian 12 (bookworm)", of: "nginx", version: "1.22.1",
			packages: []string{"nginx", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"},
			programs: []string{"usr/sbin/nginx"},
		},
	}
	HAProxy = Part{
		Name: "haproxy", make: fetchDebian,
		debian: &debianPart{
			release: "bookworm", title: "Debian 12 (bookworm)", of: "haproxy", version: "2.6.12",
			packages: []string{
				"haproxy", "libcap2", "libcrypt1", "libgcc-s1", "libgcrypt20", "libgpg-error0", "liblua5.3-0", "liblz4-1", "liblzma5",
				"libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0", "libssl3", "libstdc++6", "libsystemd0", "libzstd1",
			},
			programs: []string{"usr/sbin/haproxy"},
		},
	}
)

// NginxServer is nginx, BSD-2-Clause. Its configuration stands within http{}.
var NginxServer = ProxyServer{
	Name: "nginx", Part: Nginx, program: "usr/sbin/nginx",
	args: func(dir string) []string {
		return []string{"-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "proxy.conf")}
	},
	frame: `daemon off;
master_process off;
pid nginx.pid;
events {}
http {
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
%s
}
`,
}

// HAProxyServer is HAProxy, GPL-2: a program of its own. Its configuration
// follows a section defaults.
var HAProxyServer = ProxyServer{
	Name: "haproxy", Part: HAProxy, program: "usr/sbin/haproxy",
	args: func(dir string) []string { return []string{"-db", "-f", filepath.Join(dir, "proxy.conf")} },
	frame: `global
  log stderr format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 1m
  timeout server 1m
%s
`,
}
