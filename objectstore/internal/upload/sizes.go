package upload

import (
	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
)

// Limits of S3 (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const (
	MaxParts      = 10000
	maxObjectSize = 5 * settings.TiB
)

// sizes say how large each part of a multipart upload is. The size of the
// object is not known beforehand, so parts grow with it.
type sizes struct {
	fixed settings.Bytes // size of every part, or 0 for growing parts
}

// equalPart is the size of all parts where they must be equal.
const equalPart = 16 * settings.MiB

// growth holds, for each stretch of parts, the last part's number and the size.
// A part is held in memory, so small steps come first: many small parts on their
// way bridge a long way to the storage with less memory than a few large ones.
// Up to 88 GiB no part is larger than 64 MiB, up to 338 GiB none larger than
// 256 MiB. Together the parts hold 5 TiB.
var growth = []struct {
	last int
	size settings.Bytes
}{
	{2000, 5 * settings.MiB},
	{3000, 16 * settings.MiB},
	{4000, 64 * settings.MiB},
	{5000, 256 * settings.MiB},
	{MaxParts, 980 * settings.MiB},
}

// sizesFor returns the sizes for the settings at the endpoint.
func sizesFor(s *Settings, e account.Endpoint) sizes {
	switch {
	case s.PartSize != 0:
		return sizes{fixed: s.PartSize}
	case e.EqualParts():
		return sizes{fixed: equalPart}
	}
	return sizes{}
}

// of returns the size of part number, which counts from 1, in bytes.
func (s sizes) of(number int) int {
	if s.fixed != 0 {
		return int(s.fixed)
	}
	for _, stretch := range growth {
		if number <= stretch.last {
			return int(stretch.size)
		}
	}
	return int(growth[len(growth)-1].size)
}

// capacity returns the size of the largest object.
func (s sizes) capacity() settings.Bytes {
	if s.fixed != 0 {
		return min(s.fixed*MaxParts, maxObjectSize)
	}
	return maxObjectSize
}
