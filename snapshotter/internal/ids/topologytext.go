package ids

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A term is written for people: "topology.kubernetes.io/zone:a,b+rack:7". An
// operator other than In stands in between: "disk:NotIn:hdd". A sign begins the
// name of a field and stands for an empty value. None of the separators is valid
// in a label, so that nothing is escaped but what Kubernetes would refuse.
const (
	betweenRequirements = "+"
	betweenParts        = ":"
	betweenValues       = ","
	fieldSign           = "@"
	emptyValue          = "@"
	plainInTerm         = "-._/"
)

func (t Term) String() string {
	var parts []string
	for _, r := range t {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, betweenRequirements)
}

func (r Requirement) String() string {
	text := escapeBut(plainInTerm, r.Key)
	if r.Field {
		text = fieldSign + text
	}
	if r.Operator != corev1.NodeSelectorOpIn {
		text += betweenParts + escapeBut(plainInTerm, string(r.Operator))
	}
	var values []string
	for _, value := range r.Values {
		if value == "" {
			values = append(values, emptyValue)
		} else {
			values = append(values, escapeBut(plainInTerm, value))
		}
	}
	return text + betweenParts + strings.Join(values, betweenValues)
}

func parseTerm(text string) (Term, error) {
	var term Term
	for _, part := range strings.Split(text, betweenRequirements) {
		requirement, err := parseRequirement(part)
		if err != nil {
			return nil, err
		}
		term = append(term, requirement)
	}
	if term.String() != text {
		return nil, fmt.Errorf("%q is not written the way this plugin does", Short(text))
	}
	return term, nil
}

func parseRequirement(text string) (Requirement, error) {
	rest, field := strings.CutPrefix(text, fieldSign)
	parts := strings.Split(rest, betweenParts)
	if len(parts) < 2 || len(parts) > 3 {
		return Requirement{}, fmt.Errorf("%q is not of the form label:value", Short(text))
	}
	key, keyErr := unescapeBut(plainInTerm, parts[0])
	operator, operatorErr := string(corev1.NodeSelectorOpIn), error(nil)
	if len(parts) == 3 {
		operator, operatorErr = unescapeBut(plainInTerm, parts[1])
	}
	values, valuesErr := parseValues(parts[len(parts)-1])
	r := Requirement{Field: field, Key: key, Operator: corev1.NodeSelectorOperator(operator), Values: values}
	return r, errors.Join(keyErr, operatorErr, valuesErr)
}

func parseValues(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var values []string
	for _, part := range strings.Split(text, betweenValues) {
		value, err := unescapeBut(plainInTerm, part)
		if part == emptyValue {
			value, err = "", nil
		}
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}
