package pluginserver

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"google.golang.org/protobuf/proto"
)

// FuzzBodyOf compares bodyOf with the protobuf library: what that takes has the
// same body, and what bodyOf refuses it refuses, too.
func FuzzBodyOf(f *testing.F) {
	for _, request := range []*generated.PutObjectRequest{
		{},
		{Plugin: testName, Bucket: "backups", Key: "backups/a/velero-backup.json", Body: []byte("{}")},
		{Plugin: testName, Bucket: "backups", Key: "backups/a/a.tar.gz", Body: bytes.Repeat([]byte{0x1f, 0x8b, 8, 0x22}, 4096)},
		{Body: []byte("only a body")},
	} {
		message, err := proto.Marshal(request)
		require.NoError(f, err)
		f.Add(message)
		f.Add(append(message, message...))     // the last one of each field counts
		f.Add(message[:len(message)*2/3])      // torn
		f.Add(append(message, 0x20, 1))        // a body that is a number is another field
		f.Add(append(message, 0x23, 0x24))     // a group
		f.Add(append(message, 0x2a, 2, 0, 1))  // a field of a later version
		f.Add(append(message, 0xa2, 0, 1, 65)) // the tag of the body in two bytes
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		body, err := bodyOf(message)
		var want generated.PutObjectRequest
		wantErr := proto.Unmarshal(message, &want)
		if wantErr == nil {
			require.NoError(t, err)
			require.True(t, bytes.Equal(want.Body, body), "%x is not %x", body, want.Body)
		}
		if err != nil {
			require.Error(t, wantErr)
		}
	})
}
