package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const bucket = "bench"

// bench is what all groups share: the parts under way and the programs that
// compete.
type bench struct {
	quick   bool
	bed     *testbed.Bed
	servers map[string]*testbed.S3
	// cluster is started by the first group that wants it.
	cluster *snapshotBed

	// plain is ours in another folder, to run beside it.
	ours, plain, peer, ceiling program
}

// group is a set of rows that are measured together.
type group struct {
	name string
	run  func(ctx context.Context, b *bench) ([]row, error)
}

// groups are all groups of rows, in the order of the report.
func groups(quick bool) []group {
	all := append([]group{
		{"size", measureSize}, {"start", measureStart}, {"memory", measureMemory}, {"peaks", measurePeaks},
	}, transferGroups(quick)...)
	all = append(all, smallGroups()...)
	all = append(all, group{"listing", measureListing}, group{"deletion", measureDeletion})
	all = append(all, linkGroups()...)
	all = append(all, scaleGroups(quick)...)
	all = append(all, encryptionGroups()...)
	return append(all, snapshotGroups(quick)...)
}

func prepare(ctx context.Context, s settings) (*bench, error) {
	bed, err := testbed.New(testbed.Options{Dir: s.parent})
	if err != nil {
		return nil, err
	}
	b := &bench{quick: s.quick, bed: bed, servers: map[string]*testbed.S3{}}
	if err := b.collectPrograms(ctx, s.plugin); err != nil {
		b.close()
		return nil, err
	}
	forgetSurroundings()
	return b, nil
}

// forgetSurroundings takes from the environment, which the plugins inherit, what
// would change their work: this machine's certificates, proxies and accounts.
func forgetSurroundings() {
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		upper := strings.ToUpper(name)
		if strings.HasPrefix(upper, "AWS_") || strings.HasPrefix(upper, "SSL_CERT_") || strings.HasSuffix(upper, "_PROXY") {
			_ = os.Unsetenv(name) // It cannot fail for a name that is there.
		}
	}
}

func (b *bench) close() {
	if err := b.bed.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// runGroup measures a group, prints its rows and writes everything down, so that
// a run that is broken off keeps what it has.
func (b *bench) runGroup(ctx context.Context, g group, s settings) error {
	began := time.Now()
	progress("%s …", g.name)
	rows, err := g.run(ctx, b)
	if err != nil {
		return err
	}
	progress("%s: %s", g.name, time.Since(began).Round(time.Second))
	known, err := load(s.results)
	if err != nil {
		return err
	}
	if known.Machine, err = describeMachine(); err != nil {
		return err
	}
	for i := range rows {
		rows[i].Group, rows[i].When, rows[i].Revision = g.name, began.UTC().Format(time.DateOnly), revision()
		rows[i].Processor = known.Machine.Processor
	}
	printRows(os.Stdout, rows)
	known.replace(g.name, rows)
	if err := known.save(s.results); err != nil {
		return err
	}
	return writeDocuments(s.docs, known)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// server starts an S3 server of a kind unless it runs.
func (b *bench) server(ctx context.Context, kind testbed.S3Server, secure bool) (*testbed.S3, error) {
	name := serverName(kind, secure)
	if running, ok := b.servers[name]; ok {
		return running, nil
	}
	s3, err := b.bed.StartS3(ctx, testbed.S3Options{Name: name, Server: kind, TLS: secure, Buckets: []string{bucket}})
	if err != nil {
		return nil, err
	}
	b.servers[name] = s3
	return s3, nil
}

func serverName(kind testbed.S3Server, secure bool) string {
	if secure {
		return kind.Name + "-https"
	}
	return kind.Name + "-http"
}

// location is the config that Velero gives a plugin for a bucket on s3. The peer
// sends a CRC-32 along by default; with the same from ours the server has the
// same work with both.
func location(s3 *testbed.S3) map[string]string {
	config := s3.LocationConfig()
	config["bucket"] = bucket
	config["checksumAlgorithm"] = "CRC32"
	config["credentialsFile"] = s3.CredentialsFile
	if len(s3.CA) > 0 {
		config["caCert"] = string(s3.CA)
	}
	return config
}

// servers are the kinds of S3 server that the plugins are measured on.
func servers() []testbed.S3Server {
	versity := testbed.VersityGateway
	versity.Command = func(r testbed.S3Run) (args, env []string) {
		args, env = testbed.VersityGateway.Command(r)
		// Without it the server closes the connection after each answer, and what
		// is measured is how fast connections open.
		return append([]string{"--keep-alive"}, args...), env
	}
	return []testbed.S3Server{versity, testbed.MinIOServer}
}

// pick is the number for a quick or a full run.
func (b *bench) pick(quick, full int) int {
	if b.quick {
		return quick
	}
	return full
}

// collectPrograms builds the peers and puts each program alone in a folder, as
// Velero's registry looks through folders.
func (b *bench) collectPrograms(ctx context.Context, plugin string) error {
	peer, err := testbed.PluginForAWS.Path(ctx)
	if err != nil {
		return err
	}
	null := filepath.Join(b.bed.Dir(), "build", "nullplugin")
	if err := build(ctx, null, "-s -w", "./nullplugin"); err != nil {
		return err
	}
	for _, from := range []struct {
		to             *program
		name, provider string
		path           string
	}{
		{&b.ours, ours, testbed.Provider, plugin},
		{&b.plain, plainly, testbed.Provider, plugin},
		{&b.peer, peerPlugin, "velero.io/aws", peer},
		{&b.ceiling, ceiling, "longshore.dev/null", null},
	} {
		path := filepath.Join(b.bed.Dir(), "programs", from.name, filepath.Base(from.path))
		if err := copyProgram(from.path, path); err != nil {
			return err
		}
		*from.to = program{name: from.name, provider: from.provider, path: path}
	}
	return nil
}
