package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// debianPart is a part that comes as packages of a Debian release. They are
// fetched and unpacked by Debian's own tools, which check the archive's
// signature; nothing is installed, and root is not needed.
type debianPart struct {
	// release is Debian's name of the release, title what people call it.
	release, title string
	// of is the package whose version is the part's, and version how it begins.
	of, version string
	// packages are of and all that its programs need beside the C library.
	packages []string
	// programs are the paths of those that are kept.
	programs []string
}

// errNotHere is why a part cannot be had on this machine.
var errNotHere = errors.New("it comes as Debian packages")

// possible returns nil on a machine of the release, else an error that says what
// this one is.
func (d *debianPart) possible() error {
	if d == nil {
		return nil
	}
	release, err := osRelease()
	switch {
	case err != nil:
		return fmt.Errorf("%w of %s, and this system does not say what it is: %w", errNotHere, d.title, err)
	case release["ID"] != "debian" || release["VERSION_CODENAME"] != d.release:
		return fmt.Errorf("%w of %s, and this is %s", errNotHere, d.title, release["PRETTY_NAME"])
	case triplets[runtime.GOARCH] == "":
		return fmt.Errorf("%w, and their use on %s has not been worked out", errNotHere, runtime.GOARCH)
	}
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w of %s, and there is no %s", errNotHere, d.title, tool)
		}
	}
	return nil
}

// triplets are Debian's names for the machines, which its library folders have.
var triplets = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

func osRelease() (map[string]string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[name] = strings.Trim(value, `"`)
	}
	return fields, nil
}

// fetchDebian makes the part: a folder with its programs and the libraries.
func fetchDebian(ctx context.Context, p Part, target string) error {
	work := target + ".work"
	err := downloadDebian(ctx, p, work)
	if err == nil {
		err = unpackDebian(ctx, p, work, target)
	}
	return errors.Join(err, os.RemoveAll(work))
}

// downloadDebian fetches the packages into work/debs. apt keeps its lists in a
// folder of ours: the system's may be missing, stale or not ours to refresh.
func downloadDebian(ctx context.Context, p Part, work string) error {
	for _, dir := range []string{"debs", "state", "lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return fmt.Errorf("fetch %s: %w", p.Name, err)
		}
	}
	options := []string{
		"-q", "-o", "Dir::State=" + filepath.Join(work, "state"), "-o", "Dir::State::status=/dev/null",
		"-o", "Dir::State::lists=" + filepath.Join(work, "lists"), "-o", "Dir::Cache=" + filepath.Join(work, "cache"),
		"-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3",
	}
	debs := filepath.Join(work, "debs")
	if err := runTool(ctx, p, debs, "apt-get", append(options, "update")...); err != nil {
		return err
	}
	return runTool(ctx, p, debs, "apt-get", append(append(options, "download"), p.debian.packages...)...)
}

func unpackDebian(ctx context.Context, p Part, work, target string) error {
	debs, err := filepath.Glob(filepath.Join(work, "debs", "*.deb"))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", p.Name, err)
	}
	root := filepath.Join(work, "root")
	for _, deb := range debs {
		if err := runTool(ctx, p, work, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
	}
	if err := checkDebianVersion(p, debs); err != nil {
		return err
	}
	return keepNeeded(p, root, target)
}

// checkDebianVersion reads the version from a package's file name, where
// Debian's tools put it.
func checkDebianVersion(p Part, debs []string) error {
	for _, deb := range debs {
		name, rest, _ := strings.Cut(filepath.Base(deb), "_")
		version, _, _ := strings.Cut(rest, "_")
		if name == p.debian.of && !strings.HasPrefix(version, p.debian.version) {
			return fmt.Errorf("fetch %s: %s gives version %s, and %s is the one the testbed knows how to run",
				p.Name, p.debian.title, version, p.debian.version)
		}
	}
	return nil
}

// keepNeeded moves the libraries, if there are any, and the part's programs to target.
func keepNeeded(p Part, root, target string) error {
	libraries := []string{"lib", "usr/lib"}
	for _, path := range append(libraries, p.debian.programs...) {
		to := filepath.Join(target, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("fetch %s: %w", p.Name, err)
		}
		err := os.Rename(filepath.Join(root, path), to)
		if err != nil && (!errors.Is(err, fs.ErrNotExist) || !slices.Contains(libraries, path)) {
			return fmt.Errorf("fetch %s: %w", p.Name, err)
		}
	}
	return nil
}

func runTool(ctx context.Context, p Part, dir, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch %s: %s %s: %w\n%s", p.Name, tool, args[len(args)-1], err, lastLines(string(out), tailLines))
	}
	return nil
}

// libraries is the folder of the part's libraries.
func (d *debianPart) libraries(part string) string {
	return filepath.Join(part, "usr/lib", triplets[runtime.GOARCH])
}

// libraryPath is where the part's programs find their libraries. Some packages
// still put theirs into /lib, and Ceph has a folder of its own.
func (d *debianPart) libraryPath(part string) string {
	return strings.Join([]string{
		d.libraries(part), filepath.Join(part, "lib", triplets[runtime.GOARCH]), filepath.Join(d.libraries(part), "ceph"),
	}, ":")
}
