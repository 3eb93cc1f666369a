package s3err

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const redacted = "**redacted**"

// Secrets remembers the secrets that a location has used, so that no text that
// leaves can hold one, whoever wrote the text. The zero value is ready to use.
type Secrets struct {
	mu       sync.Mutex
	known    map[string]bool
	replacer *strings.Replacer
}

// Add remembers secrets. Short ones are left out: redacting them would garble
// the text and protect nothing.
func (s *Secrets) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.known)
	for _, value := range values {
		const shortest = 8 // bytes
		if len(value) >= shortest {
			s.remember(value)
		}
	}
	if len(s.known) > before {
		s.replacer = s.newReplacer()
	}
}

// remember takes a secret also as %q and JSON write it.
func (s *Secrets) remember(value string) {
	if s.known == nil {
		s.known = map[string]bool{}
	}
	quoted := strconv.Quote(value)
	s.known[value], s.known[quoted[1:len(quoted)-1]] = true, true
}

// newReplacer goes from the longest secret to the shortest: one may be a part
// of another.
func (s *Secrets) newReplacer() *strings.Replacer {
	var pairs []string
	for _, secret := range slices.SortedFunc(maps.Keys(s.known), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		pairs = append(pairs, secret, redacted)
	}
	return strings.NewReplacer(pairs...)
}

// Redact returns text with every known secret replaced.
func (s *Secrets) Redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replacer == nil {
		return text
	}
	parts := strings.Split(s.replacer.Replace(text), ellipsis)
	for i := range len(parts) - 1 {
		parts[i] = s.withoutHalf(parts[i])
	}
	return strings.Join(parts, ellipsis)
}

// withoutHalf takes the beginning of a known secret off the end of text, where
// the text was shortened.
func (s *Secrets) withoutHalf(text string) string {
	const telling = 4 // bytes; less gives nothing away
	for secret := range s.known {
		for n := len(secret); n >= telling; n-- {
			if half, found := strings.CutSuffix(text, secret[:n]); found {
				return half + redacted
			}
		}
	}
	return text
}
