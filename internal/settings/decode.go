// Package settings turns the config of a Velero location, a map of strings,
// into a typed struct, strictly.
//
// A settings struct is plain. Each field a user may set carries two tags:
//
//	Region string `key:"region" help:"Region of the bucket."`
//
// and, where only some words are accepted, a third: oneof:"auto,path,virtual".
// A key that ends in ".*" fills a map[string]string with all keys that start so.
// A struct may embed others that hold a part of the fields. Fields hold their
// defaults before Decode is called; the function that returns
// such a struct is the one place where defaults stand.
//
// Field types: string, bool, int, float64, time.Duration, Bytes, Secret,
// []string (separated by commas) and map[string]string.
package settings

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Validator is implemented by a settings struct that has rules beyond the type
// of each field. Validate adds one problem for each rule that is broken.
type Validator interface {
	Validate(problems *Problems)
}

// Decode writes config into the tagged fields of the struct that into points
// to, then lets it validate itself. An unknown key is a problem that names the
// nearest known key. The error, if any, is a *Problems that lists all of them.
//
// Decode panics on a struct whose tags are wrong: that is a mistake of the
// programmer, and any test of the struct finds it.
func Decode(config map[string]string, into any) error {
	var problems Problems
	fields := fieldsOf(into)
	for _, key := range slices.Sorted(maps.Keys(config)) {
		decodeKey(fields, key, config[key], &problems)
	}
	if v, ok := into.(Validator); ok {
		v.Validate(&problems)
	}
	return problems.Err()
}

func decodeKey(fields []field, key, value string, problems *Problems) {
	for _, f := range fields {
		if f.matches(key) {
			if accepted := f.set(key, value); accepted != "" {
				problems.Add(key, f.printable(value), accepted)
			}
			return
		}
	}
	problems.unknown(key, fields)
}

// field is one tagged field of a settings struct.
type field struct {
	key   string
	help  string
	oneof []string
	value reflect.Value
}

func fieldsOf(into any) []field {
	v := reflect.Indirect(reflect.ValueOf(into))
	var fields []field
	for _, f := range reflect.VisibleFields(v.Type()) {
		if key := f.Tag.Get("key"); key != "" {
			fields = append(fields, field{
				key:   key,
				help:  f.Tag.Get("help"),
				oneof: words(f.Tag.Get("oneof")),
				value: v.FieldByIndex(f.Index),
			})
		}
	}
	checkTags(fields)
	return fields
}

func checkTags(fields []field) {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.key] || f.help == "" || typeNames[f.value.Type()] == "" || f.prefixed() != (f.value.Kind() == reflect.Map) {
			panic("settings: wrong tags on the field with key " + f.key)
		}
		seen[f.key] = true
	}
}

// prefixed tells whether the field takes a family of keys, "snapshotClass.*".
func (f field) prefixed() bool { return strings.HasSuffix(f.key, ".*") }

func (f field) matches(key string) bool {
	if !f.prefixed() {
		return key == f.key
	}
	prefix := strings.TrimSuffix(f.key, "*")
	return strings.HasPrefix(key, prefix) && len(key) > len(prefix)
}

// printable returns value, or a placeholder where it is a secret.
func (f field) printable(value string) string {
	if f.value.Type() == reflect.TypeFor[Secret]() {
		return redacted
	}
	return value
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
