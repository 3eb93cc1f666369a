package main

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pageOf cuts a page out of entries, which are in the order of their IDs. A
// token is the ID of the last entry of the page before, so entries added or
// removed between two pages neither repeat nor hide others. A token of any
// other form is Aborted, as CSI wants it. The next token is empty on the last
// page.
func pageOf[T any](entries []T, id func(T) string, validID *regexp.Regexp, token string, limit int32) (page []T, next string, err error) {
	if limit < 0 {
		return nil, "", status.Errorf(codes.InvalidArgument, "max_entries is %d, must not be negative", limit)
	}
	if token != "" {
		if !validID.MatchString(token) {
			return nil, "", status.Errorf(codes.Aborted, "starting_token %q is not one this driver gave", token)
		}
		after, found := slices.BinarySearchFunc(entries, token, func(entry T, token string) int {
			return strings.Compare(id(entry), token)
		})
		if found {
			after++
		}
		entries = entries[after:]
	}
	if limit == 0 || int(limit) >= len(entries) {
		return entries, "", nil
	}
	return entries[:limit], id(entries[limit-1]), nil
}
