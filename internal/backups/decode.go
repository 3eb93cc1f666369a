package backups

import (
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/longshore-dev/velero-plugin/objectstore"
)

const (
	// listLimit bounds what a list may unfold to. The list of a million items has
	// about 50 MB.
	listLimit = 64 << 20
	// mostEntries bounds the entries of all its lists together: in memory one may take
	// a hundred times its text, which is {}.
	mostEntries = 1 << 20
	// metadataLimit bounds velero-backup.json, an object of Kubernetes, which
	// takes none above 1.5 MiB.
	metadataLimit = 16 << 20
)

// bounded is an error where r gives more than limit bytes.
type bounded struct {
	r     io.Reader
	left  int64
	limit int64
}

func atMost(r io.Reader, limit int64) io.Reader { return &bounded{r, limit, limit} }

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, damage(fmt.Sprintf("it holds more than %d MiB", b.limit>>20))
	}
	return n, err
}

// decodeGzip reads one JSON value that is compressed, to the end of r.
func decodeGzip(r io.Reader, into any) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return gzipError(err)
	}
	return decode(&counted{r: atMost(unzipped, listLimit)}, into)
}

// counted is an error where the lists of r, which is JSON, have more than mostEntries
// entries together.
type counted struct {
	r             io.Reader
	entries       int
	open          []byte // brackets, the outermost first
	text, escaped bool   // it is in a string, behind a backslash
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for _, b := range p[:n] {
		c.see(b)
	}
	if c.entries > mostEntries {
		return 0, damage("it has more than a million entries")
	}
	return n, err
}

// see counts a list for one entry, and each comma in it for one more.
func (c *counted) see(b byte) {
	switch last := len(c.open) - 1; {
	case c.escaped:
		c.escaped = false
	case c.text && b == '\\':
		c.escaped = true
	case b == '"':
		c.text = !c.text
	case c.text:
	case b == '[':
		c.open = append(c.open, b)
		c.entries++
	case b == '{':
		c.open = append(c.open, b)
	case (b == ']' || b == '}') && last >= 0:
		c.open = c.open[:last]
	case b == ',' && last >= 0 && c.open[last] == '[':
		c.entries++
	}
}

// decode reads one JSON value, to the end of r.
func decode(r io.Reader, into any) error {
	decoder := json.NewDecoder(r)
	if err := decoder.Decode(into); err != nil {
		return jsonError(err)
	}
	switch _, err := decoder.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return jsonError(err)
	}
	return damage("more than one JSON value is in it")
}

// damage is what is wrong with the content of an object that was read whole.
type damage string

func (d damage) Error() string { return string(d) }

// IsDamage tells whether err says that an object is there and is not what Velero
// wrote, or cannot be decrypted: nobody can tell then what it is.
func IsDamage(err error) bool {
	var d damage
	kind := objectstore.KindOf(err)
	return errors.As(err, &d) || kind == objectstore.KindCorrupt || kind == objectstore.KindNotDecrypted
}

// gzipError says in which way data are not what gzip writes.
func gzipError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader):
		return damage("it is not compressed by gzip")
	case errors.Is(err, gzip.ErrChecksum):
		return damage("the checksum of its compression does not fit")
	case errors.As(err, &corrupt):
		return damage("its compression is damaged")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return damage("it ends too early")
	}
	return err
}

func jsonError(err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &wrong) {
		return damage("it is not the JSON that Velero writes: " + err.Error())
	}
	return gzipError(err)
}
