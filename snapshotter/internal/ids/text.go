package ids

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// The IDs of this package are text of one form,
//
//	scheme://driver/handle?v=2&key=value&key=value
//
// with everything but unreserved characters and a few that no parser minds
// percent-encoded, so that any handle a driver invents survives. The form is
// read by eye in `velero backup describe --details`, and by idText only: it
// needs no other parser to agree.

// idVersion is the version of the form that is written. Version 2 has more keys
// than version 1. A reader refuses a newer one, since it cannot know what the ID
// says.
const idVersion = 2

// idText is an ID taken apart: the values of each key in the order they stand.
type idText struct {
	scheme, driver, handle string
	version                int // as read
	keys                   []string
	values                 map[string][]string
}

func newIDText(scheme, driver, handle string) *idText {
	t := &idText{scheme: scheme, driver: driver, handle: handle, values: map[string][]string{}}
	t.add("v", strconv.Itoa(idVersion))
	return t
}

// add appends a value, unless it is empty: no key has an empty value.
func (t *idText) add(key, value string) {
	if value == "" {
		return
	}
	if _, known := t.values[key]; !known {
		t.keys = append(t.keys, key)
	}
	t.values[key] = append(t.values[key], value)
}

func (t *idText) String() string {
	var pairs []string
	for _, key := range t.keys {
		for _, value := range t.values[key] {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	return fmt.Sprintf("%s://%s/%s?%s", t.scheme, escapeBut("-._", t.driver), escape(t.handle), strings.Join(pairs, "&"))
}

// driverName is what the CSI specification allows as a driver's name.
var driverName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?$`)

// parseIDText takes an ID of the given scheme apart.
func parseIDText(scheme, text string) (*idText, error) {
	rest, ok := strings.CutPrefix(text, scheme+"://")
	if !ok {
		return nil, fmt.Errorf("it does not begin with %s://", scheme)
	}
	path, query, ok := strings.Cut(rest, "?")
	if !ok {
		return nil, fmt.Errorf("it has no version (?v=%d)", idVersion)
	}
	driver, escapedHandle, _ := strings.Cut(path, "/")
	if !driverName.MatchString(driver) {
		return nil, fmt.Errorf("%q is no name of a CSI driver", Short(driver))
	}
	handle, err := unescape(escapedHandle)
	if err != nil {
		return nil, err
	}
	if handle == "" {
		return nil, fmt.Errorf("it has no handle")
	}
	t := &idText{scheme: scheme, driver: driver, handle: handle, values: map[string][]string{}}
	return t, t.parseQuery(query)
}

func (t *idText) parseQuery(query string) error {
	for _, pair := range strings.Split(query, "&") {
		escapedKey, escapedValue, _ := strings.Cut(pair, "=")
		key, err := unescape(escapedKey)
		if err != nil {
			return err
		}
		value, err := unescape(escapedValue)
		if err != nil {
			return err
		}
		if key == "" || value == "" {
			return fmt.Errorf("%q is not of the form key=value", Short(pair))
		}
		t.add(key, value)
	}
	return t.parseVersion()
}

func (t *idText) parseVersion() error {
	text, err := t.one("v")
	for t.version = 1; t.version <= idVersion; t.version++ {
		if err == nil && text == strconv.Itoa(t.version) {
			return nil
		}
	}
	return fmt.Errorf("version %q is not known to this release, which reads versions 1 to %d", Short(text), idVersion)
}

// one removes and returns the single value of key, "" if there is none.
func (t *idText) one(key string) (string, error) {
	values := t.all(key)
	if len(values) > 1 {
		return "", fmt.Errorf("%s stands there %d times", Short(key), len(values))
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}

// all removes and returns the values of key.
func (t *idText) all(key string) []string {
	values := t.values[key]
	delete(t.values, key)
	return values
}

// end fails if a key is left that no one asked for.
func (t *idText) end() error {
	for _, key := range t.keys {
		if _, left := t.values[key]; left {
			return fmt.Errorf("%q is not known to this release in version %d", Short(key), t.version)
		}
	}
	return nil
}

// plain are the characters that stand for themselves in an ID, beside letters
// and digits.
const plain = "-._~/:@,+"

func escape(s string) string            { return escapeBut(plain, s) }
func unescape(s string) (string, error) { return unescapeBut(plain, s) }

// escapeBut percent-encodes all of s but letters, digits and the characters of
// plain.
func escapeBut(plain, s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isAlphanumeric(c) || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// unescapeBut undoes escapeBut, and refuses what escapeBut does not write.
func unescapeBut(plain, s string) (string, error) {
	text, err := url.PathUnescape(s)
	if err != nil || escapeBut(plain, text) != s {
		return "", fmt.Errorf("%q is not escaped the way this plugin does", Short(s))
	}
	return text, nil
}
