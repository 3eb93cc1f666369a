package backups

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// Entry is a file in the archive of a backup.
type Entry struct {
	Path    string
	Size    int64 // in bytes
	ModTime time.Time
	// Content can be read until the next entry.
	Content io.Reader
}

// Archive reads the archive of a backup to its end and gives each file to each, in
// their order. An error of each ends it. When it returns nil, all was there: the
// mark at the end of the archive, the checksum of its compression, the object's end.
func (l *Location) Archive(ctx context.Context, backup string, each func(Entry) error) error {
	return l.read(ctx, backup, PartArchive, func(r io.Reader) error {
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			return gzipError(err)
		}
		return readTar(&ending{r: unzipped}, each)
	})
}

// endMark is how many zero bytes end an archive.
const endMark = 2 * 512

func readTar(r *ending, each func(Entry) error) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return tarError(err)
		}
		if err := each(Entry{header.Name, header.Size, header.ModTime, archive}); err != nil {
			return err
		}
	}
	rest, err := io.Copy(io.Discard, r)
	switch {
	case err != nil:
		return gzipError(err)
	case r.zeros < endMark:
		return damage("the mark at the end of the archive is missing")
	case r.zeros < endMark+rest:
		return damage("something stands behind the end of the archive")
	}
	return nil
}

func tarError(err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return damage("it is no tar archive, or damaged")
	}
	return gzipError(err)
}

// ending counts the zero bytes at the end of what was read.
type ending struct {
	r     io.Reader
	zeros int64
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if kept := bytes.TrimRight(p[:n], "\x00"); len(kept) == 0 {
		e.zeros += int64(n)
	} else {
		e.zeros = int64(n - len(kept))
	}
	return n, err
}

// Place is where an archive keeps an item, which it does once for each version of
// the API, and once more without a version.
type Place struct {
	Resource  string // such as deployments.apps
	Version   string // "" where there is none
	Preferred bool   // it is the version that the cluster preferred
	Namespace string // "" for an item of the cluster
	Name      string
}

// ParsePlace reads the path of an item (Velero, pkg/archive/filesystem.go):
// resources/RESOURCE[/VERSION[-preferredversion]]/namespaces/NAMESPACE/NAME.json, or
// cluster in place of namespaces/NAMESPACE.
func ParsePlace(path string) (Place, bool) {
	words := strings.Split(path, "/")
	last := len(words) - 1
	name, isJSON := strings.CutSuffix(words[last], ".json")
	if len(words) < 4 || words[0] != "resources" || !isJSON {
		return Place{}, false
	}
	p := Place{Resource: words[1], Name: name}
	scope := words[2:last]
	if scope[0] != "cluster" && scope[0] != "namespaces" {
		p.Version, p.Preferred = strings.CutSuffix(scope[0], "-preferredversion")
		scope = scope[1:]
	}
	switch {
	case len(scope) == 1 && scope[0] == "cluster":
	case len(scope) == 2 && scope[0] == "namespaces":
		p.Namespace = scope[1]
	default:
		return Place{}, false
	}
	return p, true
}

// itemLimit bounds an item, an object of Kubernetes, which takes none above 1.5 MiB
// but writes it with longer words than it was sent with.
const itemLimit = 64 << 20

// Item is what every object of Kubernetes has.
type Item struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace   string            `json:"namespace"`
		Name        string            `json:"name"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}

// Type is its APIVERSION/KIND, as a [ResourceList] has it.
func (i *Item) Type() string { return i.APIVersion + "/" + i.Kind }

// ID is its NAMESPACE/NAME, or NAME, as a [ResourceList] has it.
func (i *Item) ID() string { return strings.TrimPrefix(i.Metadata.Namespace+"/"+i.Metadata.Name, "/") }

// ReadItem reads the content of an entry whose path is a [Place].
func ReadItem(e Entry) (*Item, error) {
	var i Item
	if err := decode(atMost(e.Content, itemLimit), &i); err != nil {
		return nil, err
	}
	return &i, nil
}
