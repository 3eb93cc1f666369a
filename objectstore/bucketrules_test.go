package objectstore

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLifecycle reads rules of which minio-go would keep a part.
func TestLifecycle(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("lifecycle") {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, `<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Rule><ID>cold</ID><Status>Enabled</Status><Filter><Prefix>velero/</Prefix></Filter>
 <Transition><Days>30</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition><Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition></Rule>
<Rule><ID>date</ID><Status>Enabled</Status><Filter><And><Prefix></Prefix></And></Filter><Expiration><Date>2027-01-01T00:00:00.000Z</Date></Expiration></Rule>
<Rule><ID>days</ID><Status>Enabled</Status><Prefix>velero/backups</Prefix><Expiration><Days>7</Days></Expiration>
 <NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>
 <AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>
<Rule><ID>off</ID><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>
<Rule><ID>elsewhere</ID><Status>Enabled</Status><Prefix>logs/</Prefix><Expiration><Days>1</Days></Expiration></Rule>
<Rule><ID>instant</ID><Status>Enabled</Status><Transition><Days>1</Days><StorageClass>GLACIER_IR</StorageClass></Transition></Rule>
</LifecycleConfiguration>`)
	})
	d, err := Diagnose(testLog(t), map[string]string{"bucket": "bucket", "prefix": "velero/", "s3Url": address, "region": "us-east-1", "credentialsFile": credentialsFile(t, "ACCESS", newSecret())})
	require.NoError(t, err)
	_, _, err = d.FindRegion(t.Context())
	require.NoError(t, err)
	_, err = d.Identify(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Connect(t.Context()))
	rules, err := d.Lifecycle(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Rule{
		{ID: "cold", ArchivesTo: "DEEP_ARCHIVE"}, {ID: "date", ExpiresOn: "2027-01-01T00:00:00.000Z"},
		{ID: "days", AbortsAfter: 2, ExpiresAfter: 7, FormerAfter: 3}, {ID: "instant"},
	}, rules)
}
