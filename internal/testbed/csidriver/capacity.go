package main

import (
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// defaultCapacity is the size of a volume when none is asked for.
const defaultCapacity = 1 << 30

// capacity is a range in bytes; zero means no bound.
type capacity struct{ required, limit int64 }

func parseCapacity(bounds *csi.CapacityRange) (capacity, error) {
	parsed := capacity{bounds.GetRequiredBytes(), bounds.GetLimitBytes()}
	if parsed.required < 0 || parsed.limit < 0 {
		return capacity{}, status.Errorf(codes.InvalidArgument, "capacity_range has a negative size: required %d, limit %d", parsed.required, parsed.limit)
	}
	if parsed.limit > 0 && parsed.required > parsed.limit {
		return capacity{}, status.Errorf(codes.InvalidArgument, "capacity_range requires %d bytes, more than its limit of %d", parsed.required, parsed.limit)
	}
	return parsed, nil
}

func (c capacity) admits(size int64) bool {
	return size >= c.required && (c.limit == 0 || size <= c.limit)
}

// rounded is size as a multiple of unit, of 0 for any, if the limit allows it.
func (c capacity) rounded(size, unit int64) int64 {
	if unit == 0 {
		return size
	}
	up := (size + unit - 1) / unit * unit
	if !c.admits(up) {
		return size
	}
	return up
}

// choose returns the size of a new volume whose source has at least atLeast
// bytes. A request below that is refused and not silently raised.
func (c capacity) choose(atLeast int64) (int64, error) {
	if c.required > 0 && c.required < atLeast {
		return 0, status.Errorf(codes.OutOfRange, "required are %d bytes, fewer than the source's %d", c.required, atLeast)
	}
	size := c.required
	if size == 0 {
		size = atLeast
	}
	if size == 0 {
		size = defaultCapacity
		if c.limit > 0 {
			size = min(size, c.limit)
		}
	}
	if !c.admits(size) {
		return 0, status.Errorf(codes.OutOfRange, "the limit is %d bytes, fewer than the source's %d", c.limit, atLeast)
	}
	return size, nil
}
