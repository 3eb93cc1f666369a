package s3err

import (
	"bytes"
	"encoding/xml"
	"regexp"
)

// declaration is how XML may begin. S3 servers write version 1.1 there, or any
// name for UTF-8, and encoding/xml would refuse them.
var declaration = regexp.MustCompile(`^\x{feff}?\s*<\?xml[^>]*\?>`)

// XML reads an answer of S3 up to its first element. The decoder goes on from
// there.
func XML(document []byte) (decoder *xml.Decoder, root xml.StartElement, err error) {
	decoder = xml.NewDecoder(bytes.NewReader(document[len(declaration.Find(document)):]))
	for {
		token, err := decoder.Token()
		if err != nil {
			return decoder, root, err
		}
		if element, ok := token.(xml.StartElement); ok {
			return decoder, element, nil
		}
	}
}
