package objectstore

import (
	"fmt"
	"hash"
	"strings"
)

// partsName is the metadata in which the store keeps how large the parts of a
// multipart upload are. With it a checksum of the parts' checksums, which is what
// S3 gives a multipart upload, can be compared with what is read.
const partsName = "Longshore-Parts"

// stretch is a row of parts of one size, up to the part with the number last.
type stretch struct {
	last int
	size int64
}

// stretches are the sizes of an object's parts. All but the last part are full.
type stretches []stretch

func stretchesOf(s schedule) stretches {
	var all stretches
	for number := 1; number <= maxParts; number++ {
		size := int64(s.size(number))
		if n := len(all); n > 0 && all[n-1].size == size {
			all[n-1].last = number
		} else {
			all = append(all, stretch{number, size})
		}
	}
	return all
}

// String is the metadata's value: LAST:SIZE for each stretch.
func (all stretches) String() string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = fmt.Sprintf("%d:%d", s.last, s.size)
	}
	return strings.Join(texts, ",")
}

// parseStretches reads a metadata value. It returns nil for one that is not ours.
func parseStretches(text string) stretches {
	var all stretches
	last := 0
	for item := range strings.SplitSeq(text, ",") {
		var s stretch
		if n, err := fmt.Sscanf(item, "%d:%d", &s.last, &s.size); n != 2 || err != nil || s.last <= last || s.last > maxParts || s.size <= 0 || s.size > int64(maxPartSize) {
			return nil
		}
		last = s.last
		all = append(all, s)
	}
	return all
}

// size returns the size of part number, which counts from 1; 0 if there is none.
func (all stretches) size(number int) int64 {
	for _, s := range all {
		if number <= s.last {
			return s.size
		}
	}
	return 0
}

// count returns how many parts an object of that size has, 0 if it cannot have
// these parts.
func (all stretches) count(size int64) int {
	first := 1
	for _, s := range all {
		parts := int64(s.last - first + 1)
		if size <= parts*s.size {
			return first - 1 + int((size+s.size-1)/s.size)
		}
		size -= parts * s.size
		first = s.last + 1
	}
	return 0
}

// composite is the checksum of the checksums of an object's parts.
type composite struct {
	inner, outer hash.Hash
	parts        stretches
	number       int   // of the part under way
	left         int64 // of it
}

func newComposite(newHash func() hash.Hash, parts stretches) *composite {
	return &composite{inner: newHash(), outer: newHash(), parts: parts, number: 1, left: parts.size(1)}
}

// Write implements io.Writer.
func (c *composite) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 && c.left > 0 {
		n := min(c.left, int64(len(p)))
		c.inner.Write(p[:n])
		p = p[n:]
		if c.left -= n; c.left == 0 {
			c.next()
		}
	}
	return written, nil
}

func (c *composite) next() {
	c.outer.Write(c.inner.Sum(nil))
	c.inner.Reset()
	c.number++
	c.left = c.parts.size(c.number)
}

// Sum ends the last part and returns the checksum behind prefix.
func (c *composite) Sum(prefix []byte) []byte {
	if c.left < c.parts.size(c.number) {
		c.next()
	}
	return c.outer.Sum(prefix)
}
