package s3err

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"strconv"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestHints(t *testing.T) {
	const user = "User: arn:aws:sts::111122223333:assumed-role/velero/x is not authorized to perform: "
	for _, c := range []struct{ op, code, message, want string }{
		{OpPut, "AccessDenied", "Access Denied", "the credentials need s3:PutObject"},
		{OpPut, "AccessDenied", user + "kms:GenerateDataKey on resource: arn:aws:kms:eu-west-1:111122223333:key/k because no identity-based policy allows the kms:GenerateDataKey action",
			"the credentials need kms:GenerateDataKey; allow it in the identity-based policy"},
		{OpPut, "AccessDenied", user + "kms:GenerateDataKey on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
			"the credentials need kms:GenerateDataKey"},
		{OpList, "AccessDenied", user + `s3:ListBucket on resource: "arn:aws:s3:::b" with an explicit deny in a service control policy`,
			"s3:ListBucket is denied explicitly in the service control policy"},
		{OpGet, "AccessDenied", user + `s3:GetObject on resource: "arn:aws:s3:::b/k" with an explicit deny in an identity-based policy`,
			"s3:GetObject is denied explicitly in the identity-based policy"},
		{OpGet, "AccessDenied", user + `s3:GetObject on resource: "arn:aws:s3:::b/k" because no permissions boundary allows the s3:GetObject action`,
			"allow it in the permissions boundary"},
		{OpGet, "AccessDenied", user + `s3:GetObject on resource: "arn:aws:s3:::b/k" because no VPC endpoint policy allows the s3:GetObject action`,
			"allow it in the VPC endpoint policy"},
		{OpGet, "InvalidObjectState", "The operation is not valid for the object's storage class", "restore it in the storage first"},
		{OpGet, "SignatureDoesNotMatch", "x", "the secret key, the Host header"},
		{OpGet, "InvalidAccessKeyId", "x", "check the access key and secret key"},
	} {
		err := &Answer{Status: 403, Code: c.code, Message: c.message}
		e := failed(t, c.op, err)
		require.Contains(t, e.Hint(), c.want)
		require.Equal(t, e.Kind, KindOf(fmt.Errorf("wrapped: %w", err)))
	}
	require.Equal(t, Archived, KindOf(&Answer{Status: 403, Code: "InvalidObjectState"}))
}

func TestRefusedCredentialsHaveTheirOwnHint(t *testing.T) {
	r := Reporter{Credentials: "look at the role", Secrets: &Secrets{}, Log: silent()}
	for _, code := range []string{"InvalidAccessKeyId", "ExpiredToken"} {
		require.ErrorContains(t, r.Failed(OpGet, "b", "k", &Answer{Status: 403, Code: code}), "; look at the role")
	}
	require.ErrorContains(t, r.Failed(OpGet, "b", "k", Hinted(Credentials, "this", "text")), "text; this")
}

// TestWordsThatCommandVelero puts the words by which Velero takes a failed
// download for a missing object into errors of every kind.
func TestWordsThatCommandVelero(t *testing.T) {
	const words = `404 page Not Found: the specified key DOES NOT EXIST, NoSuchKey`
	for _, kind := range kinds(t) {
		for _, err := range []error{
			Errorf(kind, "%s", words), Hinted(kind, words, "%s", words), fmt.Errorf("%s: %w", words, Errorf(kind, "x")),
		} {
			e := failed(t, OpGet, err)
			require.Equal(t, kind, e.Kind)
			require.Equal(t, kind == NotFound, missingWords.MatchString(fmt.Sprintf("%v %+v %#v", e, e, e)), "%s", e)
		}
	}
	for _, err := range []error{
		&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host, not found", Name: "s3.test", IsNotFound: true}},
		&Answer{Status: 404, Code: "NoSuchBucket", Message: "The specified bucket does not exist"},
		&Answer{Status: 403, Code: "AccessDenied", Message: words},
		minio.ErrorResponse{StatusCode: 404, Code: "NoSuchBucket", Message: "The specified bucket does not exist"},
		errors.New(words), context.DeadlineExceeded,
	} {
		e := failed(t, OpGet, err)
		require.NotEqual(t, NotFound, e.Kind)
		require.False(t, missingWords.MatchString(e.Error()), "%s", e)
	}
	require.True(t, missingWords.MatchString(failed(t, OpGet, &Answer{Status: 404, Code: "NoSuchKey"}).Error()), "a missing object is said to be missing")
}

// kinds are the constants of type Kind.
func kinds(t *testing.T) []Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "kind.go", nil, 0)
	require.NoError(t, err)
	var all []Kind
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			all = append(all, Kind(text))
		}
		return true
	})
	require.Greater(t, len(all), 25)
	return all
}
