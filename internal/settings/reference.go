package settings

import (
	"fmt"
	"reflect"
	"strings"
)

// Table returns the reference of a settings struct as a Markdown table, one row
// a key. defaults is the struct with its defaults.
func Table(defaults any) string {
	var b strings.Builder
	b.WriteString("| key | value | default | what it does |\n| --- | --- | --- | --- |\n")
	for _, f := range fieldsOf(addressable(defaults)) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, f.accepts(), f.standard(), f.help)
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
		return "`" + strings.Join(list, ",") + "`"
	}
	return fmt.Sprintf("`%v`", f.value.Interface())
}
