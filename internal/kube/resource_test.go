package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// oneObject is an API server with a place for one ConfigMap. Before it answers a
// change, it calls the next of interferences.
type oneObject struct {
	t             *testing.T
	object        *corev1.ConfigMap
	version       int
	interferences []func(*oneObject)
	lose          int // how many answers to changes get lost
	changes       []string
}

func (s *oneObject) store(object *corev1.ConfigMap) {
	s.version++
	object.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
	object.ResourceVersion = string(rune('a' + s.version))
	s.object = object
}

// ServeHTTP implements http.Handler.
func (s *oneObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		s.changes = append(s.changes, r.Method)
		if len(s.interferences) > 0 {
			s.interferences[0](s)
			s.interferences = s.interferences[1:]
		}
	}
	answer, code := s.answer(r)
	if r.Method != http.MethodGet {
		if s.lose--; s.lose >= 0 {
			panic(http.ErrAbortHandler)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	require.NoError(s.t, json.NewEncoder(w).Encode(answer))
}

func (s *oneObject) answer(r *http.Request) (any, int) {
	kind := schema.GroupResource{Resource: "configmaps"}
	failed := func(err *apierrors.StatusError) (any, int) { return err.ErrStatus, int(err.ErrStatus.Code) }
	var body struct {
		metav1.ObjectMeta `json:"metadata"`
		Data              map[string]string
		Preconditions     metav1.ObjectMeta
	}
	if r.Method != http.MethodGet {
		require.NoError(s.t, json.NewDecoder(r.Body).Decode(&body))
	}
	if s.object == nil && r.Method != http.MethodPost {
		return failed(apierrors.NewNotFound(kind, "c"))
	}
	switch r.Method {
	case http.MethodPost:
		if s.object != nil {
			return failed(apierrors.NewAlreadyExists(kind, "c"))
		}
		s.store(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", UID: "1", Labels: body.Labels}})
	case http.MethodPatch:
		if body.UID != s.object.UID || body.ResourceVersion != s.object.ResourceVersion {
			return failed(apierrors.NewConflict(kind, "c", errors.New("changed")))
		}
		changed := s.object.DeepCopy()
		changed.Data = body.Data
		s.store(changed)
	case http.MethodDelete:
		if only := body.Preconditions; only.UID != s.object.UID || only.ResourceVersion != s.object.ResourceVersion {
			return failed(apierrors.NewConflict(kind, "c", errors.New("changed")))
		}
		deleted := s.object
		s.object = nil
		return deleted, http.StatusOK
	}
	return s.object, http.StatusOK
}

func startOneObject(t *testing.T) (*oneObject, Resource[*corev1.ConfigMap]) {
	t.Helper()
	s := &oneObject{t: t}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := New(&rest.Config{Host: server.URL}, Options{QPS: 100, Burst: 100})
	require.NoError(t, err)
	return s, client.ConfigMaps
}

func labelled(value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: map[string]string{"request": value}}}
}

func TestCreateFindsItsOwn(t *testing.T) {
	s, maps := startOneObject(t)
	s.lose = 1
	made, err := maps.Create(t.Context(), labelled("1"))
	require.NoError(t, err, "the answer was lost")
	require.EqualValues(t, "1", made.UID)
	require.Len(t, s.changes, 2)

	made, err = maps.Create(t.Context(), labelled("2"))
	require.ErrorContains(t, err, "create ConfigMap c: it exists and is not of this plugin's making")
	require.Nil(t, made, "nothing of ours is there")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mine := labelled("1")
	made, err = maps.Create(ctx, mine)
	require.ErrorIs(t, err, context.Canceled)
	require.Same(t, mine, made, "it may be there")
}

// interferes are what others do to an object between our look and our change.
var (
	otherChange   = func(s *oneObject) { s.store(s.object.DeepCopy()) }
	nothing       = func(*oneObject) {}
	otherDeletion = func(s *oneObject) { s.object = nil }
	otherObject   = func(s *oneObject) {
		s.store(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", UID: types.UID("2")}})
	}
)

func labelledAs(object *corev1.ConfigMap, data map[string]string) *corev1.ConfigMap {
	object = object.DeepCopy()
	object.Data = data
	return object
}

func TestEditDecidesAgain(t *testing.T) {
	s, maps := startOneObject(t)
	made, err := maps.Create(t.Context(), labelled("1"))
	require.NoError(t, err)
	var seen []string
	set := func(now *corev1.ConfigMap) (Patch, error) {
		seen = append(seen, now.ResourceVersion)
		if now.Data["a"] == "b" {
			return nil, nil
		}
		return Patch{"data": map[string]any{"a": "b"}}, nil
	}
	s.interferences = []func(*oneObject){otherChange}
	changed, err := maps.Edit(t.Context(), made, set)
	require.NoError(t, err)
	require.Equal(t, "b", changed.Data["a"])
	require.Equal(t, []string{"b", "c"}, seen, "the state of before and that of after another's change")

	s.object.Data = nil
	s.lose = 1
	changed, err = maps.Edit(t.Context(), s.object.DeepCopy(), set)
	require.NoError(t, err, "an answer that was lost")
	require.Equal(t, "b", changed.Data["a"])

	refusal := errors.New("not that one")
	_, err = maps.Edit(t.Context(), made, func(*corev1.ConfigMap) (Patch, error) { return nil, refusal })
	require.ErrorIs(t, err, refusal)

	for _, interfere := range []func(*oneObject){otherObject, otherDeletion} {
		before := s.object.DeepCopy()
		before.Data = nil
		s.interferences = []func(*oneObject){interfere}
		_, err = maps.Edit(t.Context(), before, set)
		require.True(t, apierrors.IsNotFound(err), "%v", err)
		require.True(t, s.object == nil || s.object.Data == nil, "another's object is not touched")
	}
}

func TestDeleteDecidesAgain(t *testing.T) {
	s, maps := startOneObject(t)
	made, err := maps.Create(t.Context(), labelled("1"))
	require.NoError(t, err)

	refusal := errors.New("it is in use since")
	s.interferences = []func(*oneObject){func(s *oneObject) {
		used := s.object.DeepCopy()
		used.Data = map[string]string{"used": "yes"}
		s.store(used)
	}}
	_, err = maps.Delete(t.Context(), made, func(now *corev1.ConfigMap) (Patch, error) {
		if now.Data["used"] != "" {
			return nil, refusal
		}
		return nil, nil
	})
	require.ErrorIs(t, err, refusal)
	require.NotNil(t, s.object)

	unset := func(s *oneObject) { s.store(labelledAs(s.object, nil)) }
	s.interferences = []func(*oneObject){otherChange, nothing, unset}
	deleted, err := maps.Delete(t.Context(), s.object.DeepCopy(), func(now *corev1.ConfigMap) (Patch, error) {
		if now.Data["marked"] != "" {
			return nil, nil
		}
		return Patch{"data": map[string]any{"marked": "yes"}}, nil
	})
	require.NoError(t, err)
	require.Nil(t, s.object)
	require.Equal(t, "yes", deleted.Data["marked"], "it was changed again")
	require.NotNil(t, deleted.DeletionTimestamp, "the API has accepted it")

	s.store(made)
	s.interferences = []func(*oneObject){otherDeletion}
	deleted, err = maps.Delete(t.Context(), made.DeepCopy(), func(*corev1.ConfigMap) (Patch, error) { return Patch{"data": nil}, nil })
	require.NoError(t, err, "it went before it was changed")
	require.Equal(t, "c", deleted.Name, "the last state known")
	require.Nil(t, deleted.DeletionTimestamp)

	s.store(labelledAs(made, nil))
	s.interferences = []func(*oneObject){nothing, otherDeletion}
	deleted, err = maps.Delete(t.Context(), s.object.DeepCopy(), func(*corev1.ConfigMap) (Patch, error) { return Patch{"data": map[string]any{"marked": "yes"}}, nil })
	require.NoError(t, err)
	require.Equal(t, "yes", deleted.Data["marked"])
	require.Nil(t, deleted.DeletionTimestamp, "it went after it was changed, and not by this call")

	s.interferences = []func(*oneObject){otherObject}
	s.store(made)
	_, err = maps.Delete(t.Context(), made.DeepCopy(), nil)
	require.NoError(t, err, "it is gone")
	require.EqualValues(t, "2", s.object.UID, "another object of the name stays")
	require.Equal(t, "DELETE", strings.Join(s.changes[len(s.changes)-1:], ""))
}
