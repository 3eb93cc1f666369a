package settings

import (
	"fmt"
	"reflect"
	"strings"
)

// Row is what the reference says of one key.
type Row struct {
	Key     string
	Accepts string // what a user writes
	Default string // "" where there is none
	Help    string
}

// Rows returns a row for each key of a settings struct, in the order of its
// fields. defaults is the struct with its defaults.
func Rows(defaults any) []Row {
	var rows []Row
	for _, f := range fieldsOf(addressable(defaults)) {
		rows = append(rows, Row{f.key, f.accepts(), f.standard(), f.help})
	}
	return rows
}

// Table returns rows as a Markdown table.
func Table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| key | value | default | what it does |\n| --- | --- | --- | --- |\n")
	for _, r := range rows {
		standard := r.Default
		if standard != "" {
			standard = "`" + standard + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Key, r.Accepts, standard, r.Help)
	}
	return b.String()
}

// addressable returns a pointer to v, which may be a struct or a pointer to one.
func addressable(v any) any {
	if reflect.TypeOf(v).Kind() == reflect.Pointer {
		return v
	}
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}

// accepts says what a user writes for the field.
func (f field) accepts() string {
	if len(f.oneof) > 0 {
		return "`" + strings.Join(f.oneof, "`, `") + "`"
	}
	return typeNames[f.value.Type()]
}

// standard writes the field's default, or nothing where it is empty.
func (f field) standard() string {
	if f.value.IsZero() && f.value.Kind() != reflect.Bool {
		return ""
	}
	if list, ok := f.value.Interface().([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(f.value.Interface())
}
