package snapshotter

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// TestPanicsAreContained makes each thing that goes on beside the calls panic, by a
// Snapshotter without a client. A panic that is not contained ends the test's
// process, as it would end the plugin.
func TestPanicsAreContained(t *testing.T) {
	for what, begin := range map[string]func(*testing.T, *Snapshotter){
		"the sweep": func(t *testing.T, s *Snapshotter) {
			swept = sync.Once{}
			t.Cleanup(func() { swept = sync.Once{} })
			s.sweepOnce(t.Context())
		},
		"the removal of the restore's StorageClass": func(t *testing.T, s *Snapshotter) {
			go s.release(t.Context(), &storagev1.StorageClass{}, false)()
		},
		"the look at warnings": func(t *testing.T, s *Snapshotter) {
			s.watchWarnings(t.Context(), &corev1.PersistentVolumeClaim{}, func(string) {})
			time.Sleep(warningInterval)
		},
		"the wait for the driver": func(t *testing.T, s *Snapshotter) {
			_, errs := s.tolerate(t.Context(), s.log)
			errs.end = nil
			errs.report("rpc error: code = InvalidArgument")
			time.Sleep(s.settings.ErrorGracePeriod)
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, entries := logtest.NewNullLogger()
				begin(t, &Snapshotter{settings: DefaultSettings(), log: log, now: time.Now})
				synctest.Wait()
				last := entries.LastEntry()
				require.NotNil(t, last)
				require.Equal(t, logrus.ErrorLevel, last.Level)
				require.Contains(t, last.Message, what)
				require.Contains(t, last.Data[logrus.ErrorKey].(error).Error(), "panic: runtime error: invalid memory address")
			})
		})
	}
}
