package e2e

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gibibyte is what each round of a benchmark moves.
const gibibyte = 1 << 30

// BenchmarkProtocol moves data through the protocol alone: the plugin stores
// nothing. It is the ceiling of what any plugin can reach with Velero's client.
// cpu-s/GiB is the processor time of the plugin's process, which does not depend
// on what else the machine does.
func BenchmarkProtocol(b *testing.B) {
	_, store, _ := openTestStore(b)
	b.Run("put", func(b *testing.B) {
		measure(b, func() {
			require.NoError(b, store.PutObject("b", "null", io.LimitReader(zeros{}, gibibyte)))
		})
	})
	b.Run("get", func(b *testing.B) {
		measure(b, func() {
			reader, err := store.GetObject("b", "null")
			require.NoError(b, err)
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, reader, make([]byte, 64<<10))
			require.NoError(b, err)
			require.EqualValues(b, gibibyte, n)
			require.NoError(b, reader.Close())
		})
	})
}

// measure runs round and reports its speed and the plugins' processor time.
func measure(b *testing.B, round func()) {
	b.SetBytes(gibibyte)
	before := childTicks(b)
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64(childTicks(b)-before)/100/float64(b.N), "cpu-s/GiB")
}

// childTicks is the processor time of the running children, in hundredths of a
// second, the unit of Linux.
func childTicks(b *testing.B) int {
	b.Helper()
	total := 0
	for _, pid := range childProcesses(b, testPlugin(b)) {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		require.NoError(b, err)
		_, after, _ := strings.Cut(string(content), ") ")
		fields := strings.Fields(after)
		for _, field := range fields[11:13] { // utime, stime
			ticks, err := strconv.Atoi(field)
			require.NoError(b, err)
			total += ticks
		}
	}
	return total
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
