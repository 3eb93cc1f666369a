package check

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// objectStore checks a backup storage location.
type objectStore struct {
	Run
	*Location
	log logrus.FieldLogger
	d   *objectstore.Diagnosis

	small, large string // the keys of the check's objects
	content      []byte // of the small one
	written      bool   // there may be something to remove
	versioned    bool
}

// objectPrefix begins the names of the check's objects below the location's prefix.
const objectPrefix = ".longshore-check-"

// ObjectStore checks that Velero can keep its backups in a location. It writes
// two objects directly under the location's prefix, where Velero takes no
// notice of them, and removes them.
func ObjectStore(ctx context.Context, l *Location, log logrus.FieldLogger, observer Observer) []Result {
	name := path.Join(strings.Trim(l.Prefix, "/"), objectPrefix+rand.Text())
	o := &objectStore{
		Run: Run{observer: observer}, Location: l, log: log,
		small: name, large: name + "-parts", content: []byte("Longshore was here: " + name),
	}
	if o.reach(ctx) {
		o.use(ctx)
	}
	return o.Results
}

// reach goes the way to the bucket; each step needs those before it.
func (o *objectStore) reach(ctx context.Context) bool {
	return o.Step(ctx, "settings", o.settings) &&
		o.Step(ctx, "name resolution", o.resolve) &&
		o.Step(ctx, "connection", o.connect) &&
		o.Step(ctx, "region", o.region) &&
		o.Step(ctx, "credentials", o.credentials) &&
		o.Step(ctx, "encryption", o.encryption) &&
		o.Step(ctx, "addressing", o.addressing) &&
		o.Step(ctx, "bucket", o.bucket)
}

func (o *objectStore) use(ctx context.Context) {
	defer o.cleanUp(ctx)
	o.Step(ctx, "list", o.list)
	o.Step(ctx, "versioning", o.versioning)
	o.Step(ctx, "object lock", o.objectLock)
	o.Step(ctx, "lifecycle", o.lifecycle)
	if why := o.unwritten(); why != "" {
		o.Step(ctx, "put", func(context.Context) (string, error) { return "", Skip(why + ": nothing is written") })
		return
	}
	if o.Step(ctx, "put", o.put) {
		o.Step(ctx, "get", o.get)
		o.Step(ctx, "signed URL", o.signedURL)
	}
	if o.Step(ctx, "multipart upload", o.multipart) {
		o.Step(ctx, "get a range", o.getRange)
	}
	o.Step(ctx, "delete", o.delete)
}

// unwritten says why nothing is written, "" where it is.
func (o *objectStore) unwritten() string {
	switch {
	case o.LookOnly:
		return "--read-only was given"
	case o.ReadOnly:
		return "the location's accessMode is ReadOnly"
	}
	return ""
}

// explain turns an error of the store into what a person needs. actions are what
// the credentials must be allowed to do for the step.
func (o *objectStore) explain(err error, actions ...string) error {
	what, hint := o.d.Explain(err)
	if objectstore.KindOf(err) == objectstore.KindForbidden && len(actions) > 0 {
		hint = "the credentials' policy needs this statement:\n" + statement(o.Bucket, o.Prefix, actions...)
	}
	return Fail(what, hint)
}

func (o *objectStore) settings(context.Context) (string, error) {
	var wrong, hints []string
	d, err := objectstore.Diagnose(o.log, o.ObjectStoreConfig())
	if err != nil {
		wrong, hints = append(wrong, err.Error()), append(hints, correctConfig)
	}
	if problem := o.bucketProblem(); problem != "" {
		wrong, hints = append(wrong, problem), append(hints, "set spec.objectStorage.bucket, and spec.objectStorage.prefix for a folder in it")
	}
	failed := len(wrong) > 0
	for _, key := range []string{"bucket", "prefix"} {
		if value, set := o.Config[key]; set {
			wrong = append(wrong, fmt.Sprintf("%s: %q in spec.config has no effect, since Velero replaces it by that of spec.objectStorage (%q)", key, value, o.ObjectStoreConfig()[key]))
			hints = append(hints, "move "+key+" from spec.config to spec.objectStorage")
		}
	}
	if o.Provider != defaults.Provider {
		wrong = append(wrong, fmt.Sprintf("spec.provider is %q: Velero does not use this plugin for the location", o.Provider))
		hints = append(hints, "set spec.provider: "+defaults.Provider)
	}
	o.d = d
	switch {
	case failed:
		return "", Fail(strings.Join(wrong, "; "), strings.Join(hints, "\n"))
	case len(wrong) > 0:
		return "", Warn(strings.Join(wrong, "; "), strings.Join(hints, "\n"))
	}
	return o.outline(), nil
}

func (o *objectStore) bucketProblem() string {
	switch bucket := strings.Trim(o.Bucket, "/"); {
	case bucket == "":
		return "bucket: there is none"
	case strings.Contains(bucket, "/"):
		return fmt.Sprintf("bucket: %q holds a slash, which Velero refuses", bucket)
	}
	return ""
}

func (o *objectStore) resolve(ctx context.Context) (string, error) {
	endpoint := o.d.Endpoint()
	proxy, err := o.d.Proxy()
	if err != nil {
		return "", Fail(err.Error(), "correct proxyUrl, or HTTPS_PROXY and HTTP_PROXY in the environment")
	}
	host, by := endpoint.Hostname(), ""
	if proxy != nil {
		host, by = proxy.Hostname(), "the proxy "+proxy.String()+": "
	}
	if net.ParseIP(host) != nil {
		return by + host + " is an address", nil
	}
	addresses, err := o.d.Resolve(ctx, host)
	if err != nil {
		return "", Fail(by+err.Error(), "check the host of s3Url; the name of a Service is known only in its cluster: run this in Velero's pod then")
	}
	return fmt.Sprintf("%s%s is %s", by, host, few(addresses)), nil
}

// few joins the first words of a list.
func few(words []string) string { return Few(words, ", ", 3) }

// skew is how far clocks may be apart. S3 refuses requests at 15 minutes.
const skew = 5 * time.Minute

func (o *objectStore) connect(ctx context.Context) (string, error) {
	greeting, err := o.d.Greet(ctx)
	if err != nil {
		return "", o.explain(err)
	}
	detail, err := secured(greeting, o.d.Settings().InsecureSkipTLSVerify)
	if apart := time.Since(greeting.Clock); !greeting.Clock.IsZero() && apart.Abs() > skew {
		return "", Warn(fmt.Sprintf("the clock of the storage is %s from this one; at 15 minutes S3 refuses every request", apart.Abs().Round(time.Second)),
			"set the clock of this machine, or of the storage")
	}
	return detail, err
}

// secured says how a connection is protected.
func secured(g objectstore.Greeting, trustsAll bool) (string, error) {
	if g.TLS == nil {
		return "plain http: not encrypted on the way", nil
	}
	certificate := g.TLS.PeerCertificates[0]
	detail := fmt.Sprintf("TLS, certificate of %s valid until %s", issuedTo(certificate.Subject.CommonName, certificate.DNSNames), certificate.NotAfter.Format(time.DateOnly))
	switch left := time.Until(certificate.NotAfter); {
	case trustsAll:
		return "", Warn(detail+", which was not verified", "put the CA into spec.objectStorage.caCert and remove insecureSkipTLSVerify")
	case left < 14*24*time.Hour:
		return "", Warn(detail, "renew the certificate of the storage")
	}
	return detail, nil
}

func issuedTo(name string, more []string) string {
	if name == "" && len(more) > 0 {
		return more[0]
	}
	return name
}

func (o *objectStore) region(ctx context.Context) (string, error) {
	region, source, err := o.d.FindRegion(ctx)
	if err != nil {
		return "", o.explain(err)
	}
	return region + " (" + source + ")", nil
}

// providers says in plain words which of the AWS SDK's providers answered.
var providers = map[string]string{
	"EnvConfigCredentials":        "the environment (AWS_ACCESS_KEY_ID)",
	"SharedConfigCredentials":     "the credentials file",
	"AssumeRoleProvider":          "an assumed role",
	"WebIdentityCredentials":      "a web identity (IRSA)",
	"CredentialsEndpointProvider": "the pod identity or container endpoint",
	"EC2RoleProvider":             "the instance's role",
	"SSOProvider":                 "SSO",
	"ProcessProvider":             "a process",
	"anonymous":                   "none: requests are anonymous",
}

func (o *objectStore) credentials(ctx context.Context) (string, error) {
	found, err := o.d.Identify(ctx)
	if err != nil {
		what, _ := o.d.Explain(err)
		return "", Fail(what, "give the location a credential (spec.credential), or Velero a Secret (velero install --secret-file); the file has [default], aws_access_key_id = … and aws_secret_access_key = …")
	}
	name, file, _ := strings.Cut(found.Source, ": ")
	if known := providers[name]; known != "" {
		name = known
	}
	switch {
	case o.CredentialsFrom != "":
		name += " of " + o.CredentialsFrom
	case file != "":
		name += " " + file
	}
	if found.AccessKey != "" {
		name += ", access key " + found.AccessKey[:min(4, len(found.AccessKey)/2)] + "…"
	}
	if !found.Expires.IsZero() {
		name += ", until " + found.Expires.Format(time.RFC3339)
	}
	if o.ownCredentials {
		return "", Warn(name+": these are this machine's, since neither the location nor Velero's Deployment names a Secret that holds any",
			"to check with Velero's own, run this command in its pod: kubectl exec -n velero deploy/velero -- /plugins/velero-plugin-longshore check objectstore")
	}
	return name, nil
}

func (o *objectStore) encryption(ctx context.Context) (string, error) {
	public, private, err := o.d.FindKeys(ctx)
	if err != nil {
		return "", o.explain(err)
	}
	if err := o.customerKey(ctx); err != nil {
		return "", err
	}
	switch {
	case public > 0:
		return fmt.Sprintf("by the plugin, to %d public keys; private keys that decrypt: %d", public, private), nil
	case private > 0:
		return "", Warn(fmt.Sprintf("what is encrypted can be read (private keys: %d), and what is written is not encrypted", private),
			"set encryptionRecipients, unless the location is only read")
	}
	return "not by the plugin", nil
}

// customerKey reads the key of SSE-C, if there is one.
func (o *objectStore) customerKey(ctx context.Context) error {
	settings := o.d.Settings()
	if !settings.HasCustomerKey() {
		return nil
	}
	err := o.d.Connect(ctx)
	if err == nil {
		return nil
	}
	what, hint := o.d.Explain(err)
	return Fail(what, cmp.Or(hint, "give the 32 bytes of the key as they are: not as text, and without a newline at the end"))
}

func (o *objectStore) addressing(ctx context.Context) (string, error) {
	if err := o.d.Connect(ctx); err != nil {
		return "", o.explain(err)
	}
	if o.d.Settings().Anonymous {
		return "", Skip("not seen, since nothing is signed")
	}
	address, err := o.d.Address(ctx, path.Join(o.Prefix, "KEY"))
	if err != nil {
		return "", o.explain(err)
	}
	if err := o.resolvable(ctx, address); err != nil {
		return "", err
	}
	return strings.ReplaceAll(address.String(), "%2F", "/"), nil
}

// resolvable looks the host up that the bucket's name is a part of.
func (o *objectStore) resolvable(ctx context.Context, address *url.URL) error {
	endpoint := o.d.Endpoint()
	proxy, _ := o.d.Proxy()
	if address.Hostname() == endpoint.Hostname() || proxy != nil {
		return nil
	}
	if _, err := o.d.Resolve(ctx, address.Hostname()); err != nil {
		return Fail(err.Error(), "set addressing: path, or have the DNS know every name below "+endpoint.Hostname())
	}
	return nil
}

func (o *objectStore) bucket(ctx context.Context) (string, error) {
	if err := o.d.LookAtBucket(ctx); err != nil {
		return "", o.explain(err, "s3:ListBucket")
	}
	return "it is there", nil
}

// veleroFolders are the folders that Velero accepts directly under the prefix;
// with any other it refuses the location.
var veleroFolders = []string{"backups", "restores", "restic", "metadata", "plugins", "kopia"}

func (o *objectStore) list(ctx context.Context) (string, error) {
	prefix := strings.Trim(o.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	folders, err := o.d.ListCommonPrefixes(ctx, strings.Trim(o.Bucket, "/"), prefix, "/")
	if err != nil {
		return "", o.explain(err, "s3:ListBucket")
	}
	var known, foreign []string
	for _, folder := range folders {
		folder = strings.Trim(strings.TrimPrefix(folder, prefix), "/")
		if slices.Contains(veleroFolders, folder) {
			known = append(known, folder)
		} else {
			foreign = append(foreign, folder)
		}
	}
	if len(foreign) > 0 {
		return "", Fail(fmt.Sprintf("beside Velero's there are the folders %s, for which Velero refuses the location", few(foreign)),
			"give Velero a folder of its own: set spec.objectStorage.prefix, or use another bucket")
	}
	if len(known) == 0 {
		return "no backups yet", nil
	}
	return "folders " + strings.Join(known, ", "), nil
}
