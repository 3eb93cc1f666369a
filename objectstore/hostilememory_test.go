package objectstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// callerVariable makes the test binary a program that makes every call to a
// storage, so that its memory can be measured.
const callerVariable = "LONGSHORE_TEST_CALL"

// callAll makes every call twice, whatever comes of it, and prints the memory that
// this took at its peak.
func callAll(ctx context.Context, order string) error {
	var endpoint, file string
	if _, err := fmt.Sscan(order, &endpoint, &file); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := Open(ctx, log, map[string]string{
		"s3Url": endpoint, "bucket": "bucket", "credentialsFile": file, "deleteVersions": "true",
		"maxRetries": "2", "requestTimeout": "5s", "stallTimeout": "5s",
	})
	if err != nil {
		return err
	}
	for range 2 {
		_ = s.PutObject(ctx, "bucket", "key", strings.NewReader("body"))
		_, _ = s.ObjectExists(ctx, "bucket", "key")
		_, _ = s.ListObjects(ctx, "bucket", "")
		_, _ = s.ListCommonPrefixes(ctx, "bucket", "", "/")
		_ = s.DeleteObject(ctx, "bucket", "key")
	}
	fmt.Println(kilobytes("VmHWM"))
	return nil
}

// manyPages is a listing without an end, by pages of so many names.
func manyPages(size int, name func(i int) string) http.HandlerFunc {
	pages := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		pages++
		page := fmt.Appendf(nil, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%[1]d</NextContinuationToken><Contents><Key>l%06[1]d</Key></Contents>", pages)
		for i := range size {
			page = fmt.Appendf(page, "<Contents><Key>%s</Key></Contents>", name(pages*size+i))
		}
		_, _ = w.Write(append(page, "</ListBucketResult>"...))
	}
}

// TestMemoryAgainstHostileServers measures the whole process while every call
// meets a server that wants to fill its memory.
func TestMemoryAgainstHostileServers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"endless entries": (&endless{status: 200, start: "<ListBucketResult>", rest: listed}).ServeHTTP,
		"empty entries":   (&endless{status: 200, start: "<ListVersionsResult>", rest: "<Version/>"}).ServeHTTP,
		"endless error":   (&endless{status: 500, start: "<Error><Message>", rest: "no "}).ServeHTTP,
		"many full pages": manyPages(17_000, func(int) string { return strings.Repeat("k", 900) }),
		"short names":     manyPages(120_000, func(i int) string { return fmt.Sprintf("%07x", 1<<28-i) }),
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", callerVariable, serve(t, handler), credentialsFile(t, "ACCESS", "a-secret-key")))
			out, err := cmd.Output()
			require.NoError(t, err)
			var peak int64
			_, err = fmt.Sscan(string(out), &peak)
			require.NoError(t, err)
			t.Logf("peak %d MB", peak*1024/1e6)
			require.Less(t, peak*1024, int64(200e6), "bytes at the peak")
		})
	}
}
