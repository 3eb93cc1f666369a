package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReferenceIsUpToDate(t *testing.T) {
	written, err := os.ReadFile("../../" + path)
	require.NoError(t, err)
	require.Equal(t, reference(), string(written), "run: go run ./hack/docs")
}
