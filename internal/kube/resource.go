package kube

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Object is an object of the API: a pointer such as *corev1.ConfigMap.
type Object interface {
	comparable
	runtime.Object
	metav1.Object
}

// Resource is the client for one kind of object, in one namespace or in none. A
// request that may succeed a little later is repeated until the context ends. Errors
// name the object.
//
// Changes and deletions always carry the UID and the resourceVersion of the state
// that they were decided on. When that has changed meanwhile, they are decided
// on once more.
type Resource[T Object] struct {
	verbs verbs
	retry retrier
	kind  string
	known *answers[T] // nil unless it asks once
}

// In is the client for the objects of one namespace.
func (r Resource[T]) In(namespace string) Resource[T] {
	r.verbs.namespace = namespace
	return r
}

// Describe names an object of this kind for a person: "PersistentVolume data".
func (r Resource[T]) Describe(name string) string {
	if r.verbs.namespace != "" {
		name = r.verbs.namespace + "/" + name
	}
	return r.kind + " " + name
}

// do sends a request, which is built again for each attempt, and reads the object in the
// answer. Its errors begin with what.
func (r Resource[T]) do(ctx context.Context, what string, request func() *rest.Request) (T, error) {
	result, err := retry(ctx, r.retry, what, func(ctx context.Context) (T, error) {
		return as[T](request().Do(ctx).Get())
	})
	if err != nil {
		return none[T](), fmt.Errorf("%s: %w", what, err)
	}
	return result, nil
}

// Get returns the object with that name. An error of one that is not there
// satisfies apierrors.IsNotFound.
func (r Resource[T]) Get(ctx context.Context, name string) (T, error) {
	return r.do(ctx, "get "+r.Describe(name), func() *rest.Request { return r.verbs.request(r.verbs.client.Get(), nil).Name(name) })
}

func (r Resource[T]) find(ctx context.Context, name string) (T, error) {
	found, err := r.Get(ctx, name)
	if apierrors.IsNotFound(err) {
		return none[T](), nil
	}
	return found, err
}

func (r Resource[T]) list(ctx context.Context, selector string) ([]T, error) {
	what := "list " + r.verbs.plural
	list, err := retry(ctx, r.retry, what, func(ctx context.Context) (runtime.Object, error) {
		return r.verbs.List(ctx, metav1.ListOptions{LabelSelector: selector})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return itemsOf[T](list)
}

func itemsOf[T Object](list runtime.Object) (all []T, err error) {
	err = meta.EachListItem(list, func(item runtime.Object) error {
		object, err := as[T](item, nil)
		all = append(all, object)
		return err
	})
	return all, err
}

// as is an object that the API has sent.
func as[T Object](sent runtime.Object, err error) (T, error) {
	object, is := sent.(T)
	if err == nil && !is {
		err = fmt.Errorf("the Kubernetes API sent a %T", sent)
	}
	return object, err
}

func none[T Object]() (none T) { return none }

// Missing tells whether o is nil, which stands for an object that is not there.
func Missing[T Object](o T) bool { return o == none[T]() }

// Create makes an object whose name the caller alone uses, and finds it again
// where the API's answer was lost. With an error it returns what may have been
// made all the same, for the clean-up; nil if that is nothing. An object of the
// name that lacks a label of wanted is another's.
func (r Resource[T]) Create(ctx context.Context, wanted T) (T, error) {
	name, what := wanted.GetName(), "create "+r.Describe(wanted.GetName())
	made, err := r.do(ctx, what, func() *rest.Request { return r.verbs.request(r.verbs.client.Post(), nil).Body(wanted) })
	if apierrors.IsAlreadyExists(err) {
		made, err = r.Get(ctx, name)
		if err == nil && !labels.SelectorFromSet(wanted.GetLabels()).Matches(labels.Set(made.GetLabels())) {
			return none[T](), fmt.Errorf("%s: it exists and is not of this plugin's making", what)
		}
	}
	if err != nil && (ctx.Err() != nil || transient(err)) {
		return wanted, err
	}
	return made, err
}

// made is the state of an object of which Create could not tell whether it was made.
func (r Resource[T]) made(ctx context.Context, now T) (T, error) {
	if now.GetUID() != "" {
		return now, nil
	}
	return r.Get(ctx, now.GetName())
}

// Patch is a JSON merge patch. Its metadata, if any, is a map[string]any.
type Patch map[string]any

// Edit changes the object that now is a state of. change decides on a new patch for
// a state; nil leaves it as it is, an error ends the edit. It returns the changed
// object, with an error the last state known. An error of an object that is gone
// satisfies apierrors.IsNotFound.
func (r Resource[T]) Edit(ctx context.Context, now T, change func(now T) (Patch, error)) (T, error) {
	name, what := now.GetName(), "change "+r.Describe(now.GetName())
	made, err := r.made(ctx, now)
	if err != nil {
		return now, err
	}
	for now = made; ; {
		patch, err := change(now)
		if err != nil || patch == nil {
			return now, err
		}
		body, err := json.Marshal(withPreconditions(patch, now))
		if err != nil {
			return now, fmt.Errorf("%s: %w", what, err)
		}
		changed, err := r.do(ctx, what, func() *rest.Request {
			return r.verbs.request(r.verbs.client.Patch(types.MergePatchType), nil).Name(name).Body(body)
		})
		if err == nil {
			return changed, nil
		}
		if apierrors.IsConflict(err) {
			now, err = r.again(ctx, now)
		}
		if err != nil {
			return now, err
		}
	}
}

// Delete asks for the deletion of the object that now is a state of, in the state
// that change causes, see Edit; a nil change deletes it as it is. It returns
// the state that was deleted, with an error the last one known. An object that is
// gone, or is being deleted, is no error. The state has a deletionTimestamp, unless the
// object was gone before the API had accepted its deletion.
func (r Resource[T]) Delete(ctx context.Context, now T, change func(now T) (Patch, error)) (T, error) {
	name, what := now.GetName(), "delete "+r.Describe(now.GetName())
	made, err := r.made(ctx, now)
	switch {
	case apierrors.IsNotFound(err):
		return now, nil
	case err != nil:
		return now, err
	}
	for now = made; now.GetDeletionTimestamp() == nil; {
		var err error
		if change != nil {
			now, err = r.Edit(ctx, now, change)
		}
		if err == nil {
			uid, version := now.GetUID(), now.GetResourceVersion()
			_, err = retry(ctx, r.retry, what, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, r.verbs.delete(ctx, name, metav1.Preconditions{UID: &uid, ResourceVersion: &version})
			})
			if err == nil {
				return beingDeleted(now), nil
			}
		}
		if apierrors.IsConflict(err) {
			if now, err = r.again(ctx, now); err == nil {
				continue
			}
		}
		if apierrors.IsNotFound(err) {
			return now, nil
		}
		return now, fmt.Errorf("%s: %w", what, err)
	}
	return now, nil
}

// beingDeleted is a state of an object whose deletion the API has accepted since.
func beingDeleted[T Object](state T) T {
	deleted, _ := state.DeepCopyObject().(T) // it is one
	deleted.SetDeletionTimestamp(new(metav1.Now()))
	return deleted
}

// again returns the object as it is now, and the state before with an error. One of
// another UID has only the name.
func (r Resource[T]) again(ctx context.Context, before T) (T, error) {
	name, uid := before.GetName(), before.GetUID()
	now, err := r.Get(ctx, name)
	if err == nil && now.GetUID() != uid {
		err = apierrors.NewNotFound(metav1.SchemeGroupVersion.WithResource(r.verbs.plural).GroupResource(), name)
	}
	if err != nil {
		return before, err
	}
	return now, nil
}

// withPreconditions has a patch apply to exactly this state of the object.
func withPreconditions(patch Patch, state metav1.Object) Patch {
	fields, _ := patch["metadata"].(map[string]any)
	if fields == nil {
		fields = map[string]any{}
	}
	fields["uid"], fields["resourceVersion"] = state.GetUID(), state.GetResourceVersion()
	patch["metadata"] = fields
	return patch
}
