package main

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var secretMethods = map[string]string{
	"create":         "CreateVolume",
	"delete":         "DeleteVolume",
	"snapshot":       "CreateSnapshot",
	"deletesnapshot": "DeleteSnapshot",
	"list":           "ListSnapshots",
}

func secretOperations() []string {
	return slices.Sorted(maps.Keys(secretMethods))
}

// requiredSecrets holds, by CSI method, the secrets a call must carry.
type requiredSecrets map[string]map[string]string

// add takes one op:key=value. Its errors do not repeat the value.
func (r *requiredSecrets) add(text string) error {
	operation, secret, ok := strings.Cut(text, ":")
	method, known := secretMethods[operation]
	if !ok || !known {
		return fmt.Errorf("want op:key=value with op one of %s", strings.Join(secretOperations(), ", "))
	}
	key, value, ok := strings.Cut(secret, "=")
	if !ok || key == "" {
		return fmt.Errorf("operation %s: want op:key=value", operation)
	}
	if *r == nil {
		*r = requiredSecrets{}
	}
	if (*r)[method] == nil {
		(*r)[method] = map[string]string{}
	}
	(*r)[method][key] = value
	return nil
}

// UnmarshalJSON reads a list of op:key=value.
func (r *requiredSecrets) UnmarshalJSON(text []byte) error {
	var list []string
	if err := json.Unmarshal(text, &list); err != nil {
		return errors.New("want a list of op:key=value")
	}
	for _, item := range list {
		if err := r.add(item); err != nil {
			return err
		}
	}
	return nil
}

// check names the first key, in order, that is missing or wrong.
func (r requiredSecrets) check(method string, given map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(r[method])) {
		value, ok := given[key]
		if !ok {
			return status.Errorf(codes.Unauthenticated, "%s: secret %q is missing", method, key)
		}
		if subtle.ConstantTimeCompare([]byte(value), []byte(r[method][key])) != 1 {
			return status.Errorf(codes.Unauthenticated, "%s: secret %q is wrong", method, key)
		}
	}
	return nil
}
