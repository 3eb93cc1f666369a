package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Creator is the part of a typed client that makes an object, or finds it.
type Creator[T any] interface {
	Create(ctx context.Context, object T, opts metav1.CreateOptions) (T, error)
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
}

// Create makes an object whose name the caller alone uses, and finds it again
// where the API's answer was lost. With an error it returns what may have been
// made all the same, for the clean-up; the nil pointer if that is nothing. An
// object of the name that does not have all labels of wanted is another's.
func Create[T Object](ctx context.Context, client Creator[T], wanted T) (T, error) {
	made, err := Retry(ctx, func(ctx context.Context) (T, error) {
		return client.Create(ctx, wanted, metav1.CreateOptions{})
	})
	if apierrors.IsAlreadyExists(err) {
		made, err = Retry(ctx, func(ctx context.Context) (T, error) {
			return client.Get(ctx, wanted.GetName(), metav1.GetOptions{})
		})
		if err == nil && !hasLabels(made, wanted.GetLabels()) {
			return *new(T), fmt.Errorf("%s exists and is not of this plugin's making", wanted.GetName())
		}
	}
	switch {
	case err == nil:
		return made, nil
	case ctx.Err() != nil || Transient(err):
		return wanted, err
	}
	return *new(T), err
}

func hasLabels(object metav1.Object, wanted map[string]string) bool {
	labels := object.GetLabels()
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}
