package objectstore

import (
	"strings"
	"sync"
)

// secrets remembers the secrets that a store has used, so that no text that
// leaves it can hold one, whoever wrote the text.
type secrets struct {
	mu       sync.Mutex
	known    map[string]bool
	replacer *strings.Replacer
}

// add remembers secrets. Short ones are left out: scrubbing them would garble
// the text and protect nothing.
func (s *secrets) add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		if len(value) >= 8 && !s.known[value] {
			s.remember(value)
		}
	}
}

func (s *secrets) remember(value string) {
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

// scrub returns text with every known secret replaced.
func (s *secrets) scrub(text string) string {
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
func (s *secrets) withoutHalf(text string) string {
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
