package snapshotter

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
)

func TestPatience(t *testing.T) {
	const full, late, gone = "code = Internal desc = full", "rpc error: code = DeadlineExceeded", "can not find snapshot for snapshotID x"
	type step struct {
		message string
		hurry   bool
		then    time.Duration
	}
	for name, c := range map[string]struct {
		steps []step
		ended bool
		said  int // how many warnings
	}{
		"an error that lasts":      {steps: []step{{full, false, time.Minute}, {full, false, time.Minute}, {full, false, time.Second}}, ended: true, said: 1},
		"an error that is young":   {steps: []step{{full, false, 119 * time.Second}}, said: 1},
		"a driver at work":         {steps: []step{{late, false, time.Hour}}, said: 1},
		"a driver at work again":   {steps: []step{{full, false, time.Minute}, {late, false, time.Hour}}, said: 2},
		"a driver that fails then": {steps: []step{{late, false, time.Hour}, {full, false, 121 * time.Second}}, ended: true, said: 2},
		"what hardly ever passes":  {steps: []step{{gone, true, 11 * time.Second}}, ended: true, said: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logged := test.NewNullLogger()
				ctx, p, stop := newPatience(t.Context(), 2*time.Minute, log)
				defer stop()
				last := ""
				for _, s := range c.steps {
					p.failing(s.message)
					if s.hurry {
						p.hurry(missingGrace)
					}
					last = s.message
					time.Sleep(s.then)
				}
				synctest.Wait()
				require.Equal(t, c.ended, ctx.Err() != nil)
				if c.ended {
					require.ErrorContains(t, context.Cause(ctx), last)
				}
				require.Len(t, logged.AllEntries(), c.said)
				require.Equal(t, logrus.WarnLevel, logged.LastEntry().Level)
			})
		})
	}
}
