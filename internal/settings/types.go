package settings

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// typeNames says for each type of field what a user writes there.
var typeNames = map[reflect.Type]string{
	reflect.TypeFor[string]():            "string",
	reflect.TypeFor[bool]():              "true or false",
	reflect.TypeFor[int]():               "a whole number",
	reflect.TypeFor[float64]():           "a number",
	reflect.TypeFor[time.Duration]():     "a duration such as 30s, 5m or 1h",
	reflect.TypeFor[Bytes]():             "a size such as 512KiB, 16MiB or 1GiB",
	reflect.TypeFor[Secret]():            "string, kept secret",
	reflect.TypeFor[[]string]():          "a list separated by commas",
	reflect.TypeFor[map[string]string](): "string",
}

// set stores value in the field. It returns "" or, where value does not fit,
// what would be accepted. An empty value leaves the default, but where any text
// is accepted it is a string.
func (f field) set(key, value string) (accepted string) {
	if value == "" && !f.takesAnyText() {
		return ""
	}
	if len(f.oneof) > 0 && !slices.Contains(f.oneof, value) {
		return "one of " + quotedList(f.oneof)
	}
	if f.prefixed() {
		f.put(strings.TrimPrefix(key, strings.TrimSuffix(f.key, "*")), value)
		return ""
	}
	parsed, ok := parse(f.value.Type(), value)
	if !ok {
		return typeNames[f.value.Type()]
	}
	f.value.Set(reflect.ValueOf(parsed))
	return ""
}

func (f field) takesAnyText() bool {
	text := f.value.Kind() == reflect.String || f.value.Kind() == reflect.Map
	return text && len(f.oneof) == 0
}

// put adds an entry to a copy of the field's map, so that a map of defaults is
// never shared between two decoded structs.
func (f field) put(name, value string) {
	m := map[string]string{name: value}
	for k, v := range f.value.Interface().(map[string]string) {
		if k != name {
			m[k] = v
		}
	}
	f.value.Set(reflect.ValueOf(m))
}

func parse(t reflect.Type, value string) (parsed any, ok bool) {
	var err error
	switch t {
	case reflect.TypeFor[bool]():
		parsed, err = strconv.ParseBool(value)
	case reflect.TypeFor[int]():
		parsed, err = strconv.Atoi(value)
	case reflect.TypeFor[float64]():
		parsed, err = strconv.ParseFloat(value, 64)
	case reflect.TypeFor[time.Duration]():
		parsed, err = time.ParseDuration(value)
	case reflect.TypeFor[Bytes]():
		parsed, err = ParseBytes(value)
	case reflect.TypeFor[Secret]():
		parsed = Secret(value)
	case reflect.TypeFor[[]string]():
		parsed = words(value)
	default:
		parsed = value
	}
	return parsed, err == nil
}

// Bytes is a number of bytes, written with a binary unit: 16MiB.
type Bytes int64

// The units of Bytes.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

// bytesUnits goes from the largest to the smallest. Kubernetes writes Mi for MiB.
var bytesUnits = []struct {
	names []string
	size  Bytes
}{
	{[]string{"TiB", "Ti"}, TiB},
	{[]string{"GiB", "Gi"}, GiB},
	{[]string{"MiB", "Mi"}, MiB},
	{[]string{"KiB", "Ki"}, KiB},
	{[]string{"B", ""}, 1},
}

// ParseBytes reads a whole number with a binary unit (KiB, MiB, GiB, TiB, or
// Ki, Mi, Gi, Ti as Kubernetes writes them) or with none, for bytes.
func ParseBytes(text string) (Bytes, error) {
	number := strings.TrimRight(text, "KMGTiB")
	for _, unit := range bytesUnits {
		if !slices.Contains(unit.names, text[len(number):]) {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(unit.size) {
			break
		}
		return Bytes(n) * unit.size, nil
	}
	return 0, fmt.Errorf("%q is no size", text)
}

// String writes b with the largest unit that divides it.
func (b Bytes) String() string {
	for _, unit := range bytesUnits {
		if b >= unit.size && b%unit.size == 0 {
			return strconv.FormatInt(int64(b/unit.size), 10) + unit.names[0]
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
