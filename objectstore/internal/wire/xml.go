package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// elementLimit is how many tags a document may hold. A page of 1000 keys has some
// 30 000; each costs memory when it is read.
const elementLimit = 500_000

// ReadXML reads a document whose first element's name starts with root into a
// struct. Only what the struct has must be well-formed.
func ReadXML(document []byte, root string, into any) error {
	if !strings.HasPrefix(rootOf(document), root) {
		return notXML(document, root, nil)
	}
	if n := bytes.Count(document, []byte("<")); n > elementLimit {
		return s3err.Errorf(s3err.NotS3, "the answer holds %d tags, and at most %d are read", n, elementLimit)
	}
	if err := newDecoder(document).Decode(into); err != nil {
		return notXML(document, root, err)
	}
	return nil
}

// requireXML accepts a document that ReadXML could read, or an error of S3.
func requireXML(document []byte, root string) error {
	if rootOf(document) == "Error" {
		return nil
	}
	return ReadXML(document, root, &struct{}{})
}

// newDecoder reads XML as S3 servers write it: also as version 1.1, and with any
// name for UTF-8.
func newDecoder(document []byte) *xml.Decoder {
	start := document[:min(len(document), 64)]
	decoder := xml.NewDecoder(io.MultiReader(
		bytes.NewReader(bytes.Replace(start, []byte(`version="1.1"`), []byte(`version="1.0"`), 1)),
		bytes.NewReader(document[len(start):]),
	))
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	return decoder
}

// notXML says why a document is not the one with that root. One that breaks off
// was cut on its way.
func notXML(document []byte, root string, err error) error {
	if broken(document, err) {
		return s3err.Errorf(s3err.Unreachable, "the answer ended early: %d bytes of a %s", len(document), root)
	}
	if err != nil {
		return s3err.Errorf(s3err.NotS3, "the answer is no %s that can be read: %w", root, err)
	}
	return s3err.Errorf(s3err.NotS3, "the answer is no %s but starts with %q", root, s3err.Clean(string(document[:min(len(document), 1<<10)]), 60))
}

// broken tells whether err, or else the search for a root, came to the end of an
// XML document too early.
func broken(document []byte, err error) bool {
	if err == nil {
		_, err = firstElement(document)
	}
	var syntax *xml.SyntaxError
	early := errors.Is(err, io.EOF) || errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF")
	return early && bytes.HasPrefix(bytes.TrimSpace(document), []byte("<"))
}

// rootOf returns the name of the first XML element in a document, or "".
func rootOf(document []byte) string {
	name, _ := firstElement(document)
	return name
}

func firstElement(document []byte) (string, error) {
	decoder := newDecoder(document)
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return "", err
		}
		if element, ok := token.(xml.StartElement); ok {
			return element.Name.Local, nil
		}
	}
}
