package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore"
)

func TestJudgeRules(t *testing.T) {
	for _, c := range []struct {
		rule objectstore.Rule
		want string
	}{
		{objectstore.Rule{ID: "old", ExpiresAfter: 30}, `rule "old" deletes objects after 30 days`},
		{objectstore.Rule{ID: "old", ExpiresOn: "2027-01-01T00:00:00Z"}, `rule "old" deletes objects on 2027-01-01`},
		{objectstore.Rule{ID: "cold", ArchivesTo: "DEEP_ARCHIVE"}, `rule "cold" moves objects to DEEP_ARCHIVE`},
	} {
		_, err := judgeRules([]objectstore.Rule{{AbortsAfter: 1}, c.rule})
		require.ErrorContains(t, err, c.want)
	}
	said, err := judgeRules([]objectstore.Rule{{AbortsAfter: 1}, {FormerAfter: 3}})
	require.NoError(t, err)
	require.Equal(t, "a rule removes what broken uploads leave", said)
}
