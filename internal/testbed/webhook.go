package testbed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const webhookLabel = "testbed.longshore.dev/webhook"

// LoseWebhook has a validating webhook for writes of these resources (such as
// "persistentvolumeclaims") whose server is not there, as when a policy engine is
// down: the API server answers each write with an internal error "failed calling
// webhook". It returns when the API server honours the webhook; end takes it away.
func (c *Cluster) LoseWebhook(ctx context.Context, resources ...string) (end func(context.Context) error, err error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	hooks := c.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	made, err := hooks.Create(ctx, lostWebhook("https://"+address(ports[0])+"/", resources), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("lose a webhook: %w", err)
	}
	end = func(ctx context.Context) error {
		err := hooks.Delete(ctx, made.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("take the lost webhook away: %w", err)
		}
		return c.waitWebhook(ctx, false)
	}
	if err := c.waitWebhook(ctx, true); err != nil {
		return nil, errors.Join(err, end(context.WithoutCancel(ctx)))
	}
	return end, nil
}

// waitWebhook asks with an object that is never stored.
func (c *Cluster) waitWebhook(ctx context.Context, there bool) error {
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "webhook-probe", Labels: map[string]string{webhookLabel: "probe"}}}
	what := "the lost webhook to be asked"
	if !there {
		what = "the lost webhook to be gone"
	}
	return Poll(ctx, 30*time.Second, what, func(ctx context.Context) (bool, string, error) {
		_, err := c.Kube.CoreV1().ConfigMaps("default").Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		failed := err != nil && strings.Contains(err.Error(), "failed calling webhook")
		return failed == there, fmt.Sprint("answer: ", err), nil
	})
}

func lostWebhook(url string, resources []string) *admissionv1.ValidatingWebhookConfiguration {
	fail, none, all, seconds := admissionv1.Fail, admissionv1.SideEffectClassNone, admissionv1.AllScopes, int32(5)
	hook := func(name string, resources ...string) admissionv1.ValidatingWebhook {
		return admissionv1.ValidatingWebhook{
			Name: name + ".testbed.longshore.dev", FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &seconds,
			AdmissionReviewVersions: []string{"v1"},
			ClientConfig:            admissionv1.WebhookClientConfig{URL: &url},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.OperationAll},
				Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: resources, Scope: &all},
			}},
		}
	}
	probe := hook("probe", "configmaps")
	probe.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{webhookLabel: "probe"}}
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "lost-webhook"},
		Webhooks:   []admissionv1.ValidatingWebhook{hook("lost", resources...), probe},
	}
}
