package kube

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// shelf is a place for one object, which loses answers.
type shelf struct {
	object *corev1.ConfigMap
	lose   int
}

func (s *shelf) Create(_ context.Context, object *corev1.ConfigMap, _ metav1.CreateOptions) (*corev1.ConfigMap, error) {
	if s.object != nil {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "configmaps"}, object.Name)
	}
	s.object = object.DeepCopy()
	s.object.UID = "made"
	if s.lose--; s.lose >= 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return s.object, nil
}

func (s *shelf) Get(context.Context, string, metav1.GetOptions) (*corev1.ConfigMap, error) {
	return s.object, nil
}

func TestCreate(t *testing.T) {
	mine := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: map[string]string{"request": "1"}}}
	made, err := Create(t.Context(), &shelf{}, mine)
	require.NoError(t, err)
	require.EqualValues(t, "made", made.UID)

	made, err = Create(t.Context(), &shelf{lose: 1}, mine)
	require.NoError(t, err, "the answer was lost")
	require.EqualValues(t, "made", made.UID)

	other := mine.DeepCopy()
	other.Labels["request"] = "2"
	made, err = Create(t.Context(), &shelf{object: other}, mine)
	require.EqualError(t, err, "c exists and is not of this plugin's making")
	require.Nil(t, made, "nothing of ours is there")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	made, err = Create(ctx, &shelf{lose: 1}, mine)
	require.ErrorIs(t, err, context.Canceled)
	require.Same(t, mine, made, "it may be there")
}
