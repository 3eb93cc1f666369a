package testbed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// auditPolicy has the API server note each request once, when it has answered.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
`

// auditArgs has the API server keep books of its requests.
func (c *Cluster) auditArgs() ([]string, error) {
	policy := filepath.Join(c.dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + c.auditLog()}, nil
}

func (c *Cluster) auditLog() string { return filepath.Join(c.dir, "audit.log") }

// Request is a request that the API server answered. A watch is answered when it
// ends.
type Request struct {
	Time time.Time
	// Agent is the client's program, its user agent up to the first slash.
	Agent string
	User  string
	Verb  string
	// Object is the resource, a slash and the subresource where there is one.
	Object          string
	Namespace, Name string
	Code            int
}

// Requests returns what the API server of a cluster with Audit was asked since
// then and has answered, in the order of its answers.
func (c *Cluster) Requests(since time.Time) ([]Request, error) {
	text, err := os.ReadFile(c.auditLog())
	if err != nil {
		return nil, fmt.Errorf("read the API server's audit log: %w", err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // The last line may be half written.
	var requests []Request
	for decoder := json.NewDecoder(bytes.NewReader(text)); decoder.More(); {
		var e auditEvent
		if err := decoder.Decode(&e); err != nil {
			return nil, fmt.Errorf("read the API server's audit log: %w", err)
		}
		if !e.RequestReceivedTimestamp.Before(since) {
			requests = append(requests, e.request())
		}
	}
	return requests, nil
}

// auditEvent is what counts of a line of the audit log.
type auditEvent struct {
	RequestReceivedTimestamp time.Time
	Verb, UserAgent          string
	User                     struct{ Username string }
	ObjectRef                struct{ Resource, Subresource, Namespace, Name string }
	ResponseStatus           struct{ Code int }
}

func (e auditEvent) request() Request {
	agent, _, _ := strings.Cut(e.UserAgent, "/")
	r := Request{
		Time: e.RequestReceivedTimestamp, Agent: agent, User: e.User.Username, Verb: e.Verb, Object: e.ObjectRef.Resource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name, Code: e.ResponseStatus.Code,
	}
	if e.ObjectRef.Subresource != "" {
		r.Object += "/" + e.ObjectRef.Subresource
	}
	return r
}
