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

// readXML reads a document whose first element's name starts with root into a
// struct. Only what the struct has must be well-formed.
func readXML(document []byte, root string, into any) error {
	decoder, element, err := s3err.XML(document)
	found := strings.HasPrefix(element.Name.Local, root)
	if n := bytes.Count(document, []byte("<")); found && n > elementLimit {
		return s3err.Errorf(s3err.NotS3, "the answer holds %d tags, and at most %d are read", n, elementLimit)
	}
	if found {
		err = decoder.DecodeElement(into, &element)
	}
	switch {
	case isCut(document, err):
		return s3err.Errorf(s3err.Unreachable, "the answer ended early: %d bytes of a %s", len(document), root)
	case !found:
		return s3err.Errorf(s3err.NotS3, "the answer is no %s but starts with %q", root, s3err.Clean(string(document[:min(len(document), 1<<10)]), 60))
	case err != nil:
		return s3err.Errorf(s3err.NotS3, "the answer is no %s that can be read: %w", root, err)
	}
	return nil
}

// isCut tells whether err came from an XML document that ends too early: it was
// cut on its way.
func isCut(document []byte, err error) bool {
	var syntax *xml.SyntaxError
	early := errors.Is(err, io.EOF) || errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF")
	return early && bytes.HasPrefix(bytes.TrimSpace(document), []byte("<"))
}
