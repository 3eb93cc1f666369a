package s3err

import (
	"strings"
	"sync"
)

// Secrets remembers the secrets that a location has used, so that no text that
// leaves it can hold one, whoever wrote the text.
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
	for _, value := range values {
		if len(value) >= 8 && !s.known[value] {
			s.remember(value)
		}
	}
}

func (s *Secrets) remember(value string) {
	if s.known == nil {
		s.known = map[string]bool{}
	}
	s.known[value] = true
	var pairs []string
	for known := range s.known {
		pairs = append(pairs, known, "**redacted**")
	}
	s.replacer = strings.NewReplacer(pairs...)
}

// Redact returns text with every known secret replaced.
func (s *Secrets) Redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replacer == nil {
		return text
	}
	before, after, cut := strings.Cut(s.replacer.Replace(text), ellipsis)
	if !cut {
		return before
	}
	return s.withoutHalf(before) + ellipsis + after
}

// ellipsis stands where a long text was cut off, perhaps within a secret.
const ellipsis = "…"

// withoutHalf cuts the beginning of a known secret off the end of text.
func (s *Secrets) withoutHalf(text string) string {
	const telling = 4 // bytes; less gives nothing away
	for secret := range s.known {
		for n := len(secret); n >= telling; n-- {
			if half, found := strings.CutSuffix(text, secret[:n]); found {
				return half + "**redacted**"
			}
		}
	}
	return text
}
