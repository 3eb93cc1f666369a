package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// printFlags say what the printed manifest or policy is for.
type printFlags struct {
	namespace, account, staging string // of Velero in the cluster
	bucket, prefix              string // of the location
	image, schedule             string // of the CronJobs
}

// printable is a text of the documentation, adapted to the flags that it takes.
type printable struct {
	text  func(f *printFlags) (string, error)
	takes []string
}

var printables = map[string]printable{
	"rbac":      {func(f *printFlags) (string, error) { return f.manifest("rbac.yaml") }, ofManifest},
	"admission": {func(f *printFlags) (string, error) { return f.manifest("admission.yaml") }, ofManifest},
	"policy":    {(*printFlags).policy, []string{"bucket", "prefix"}},
	"lifecycle": {(*printFlags).lifecycle, []string{"prefix"}},
	"cronjob":   {func(f *printFlags) (string, error) { return f.cronJob("verify-cronjob.yaml") }, []string{"namespace", "image"}},

	"drill-cronjob": {func(f *printFlags) (string, error) { return f.cronJob("drill-cronjob.yaml") }, []string{"namespace", "image", "schedule"}},
}

var ofManifest = []string{"namespace", "service-account", "staging-namespace"}

func runPrint(args []string, stdout, stderr io.Writer) int {
	var f printFlags
	flags := pflag.NewFlagSet("print", pflag.ContinueOnError)
	flags.StringVarP(&f.namespace, "namespace", "n", kube.Namespace(), "Velero's `namespace`")
	flags.StringVar(&f.account, "service-account", "velero", "Velero's service `account`; that of the Helm chart is velero-server")
	flags.StringVar(&f.staging, "staging-namespace", "", "the setting stagingNamespace, where it is another `namespace` than Velero's")
	flags.StringVar(&f.bucket, "bucket", "", "`bucket` of the location")
	flags.StringVar(&f.prefix, "prefix", "", "`prefix` of the location")
	flags.StringVar(&f.image, "image", "", "`image` of the CronJob")
	flags.StringVar(&f.schedule, "schedule", "nightly", "Velero's `Schedule` whose backups drill-cronjob drills")
	done, err := parseFlags("print", flags, args, printUsage, stdout)
	if done {
		return exitOK
	}
	if err == nil && flags.NArg() != 1 {
		err = fmt.Errorf("print takes one of rbac, admission, policy, lifecycle, cronjob and drill-cronjob, not %q", strings.Join(flags.Args(), " "))
	}
	what := printables[flags.Arg(0)]
	if err == nil && what.text == nil {
		err = fmt.Errorf("print %q: there are rbac, admission, policy, lifecycle, cronjob and drill-cronjob", flags.Arg(0))
	}
	if err == nil {
		err = cmp.Or(what.validate(flags), f.validate())
	}
	if err != nil {
		return usageError(stderr, err)
	}
	printed, err := what.text(&f)
	if err != nil {
		return usageError(stderr, err)
	}
	_, err = io.WriteString(stdout, printed)
	return report(stderr, err)
}

// validate refuses flags that would change nothing.
func (p printable) validate(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(p.takes, f.Name) {
			err = fmt.Errorf("--%s does not belong to print %s, which takes --%s", f.Name, flags.Arg(0), strings.Join(p.takes, ", --"))
		}
	})
	return err
}

// validate wants names with which a manifest can be applied.
func (f *printFlags) validate() error {
	staging := cmp.Or(f.staging, f.namespace)
	return cmp.Or(
		wantsName("-n", f.namespace, "a namespace", validation.IsDNS1123Label(f.namespace)),
		wantsName("--staging-namespace", staging, "a namespace", validation.IsDNS1123Label(staging)),
		wantsName("--service-account", f.account, "a service account", validation.IsDNS1123Subdomain(f.account)),
		wantsName("--schedule", f.schedule, "one of Velero's Schedules", validation.IsDNS1123Subdomain(f.schedule)),
	)
}

func read(name string) (string, error) {
	content, err := docs.Files.ReadFile(name)
	return string(content), err
}

// standing is the paragraph of a manifest that says what it stands for as it is.
var standing = regexp.MustCompile(`#\n# It is written for (?:.*\n# )*.*\n`)

// manifest is a file with these names in it.
func (f *printFlags) manifest(name string) (string, error) {
	text, err := read(name)
	staging := f.staging
	if staging == "" {
		staging = f.namespace
	}
	return strings.NewReplacer(
		"namespace: velero # or the stagingNamespace", "namespace: "+staging,
		"namespace: velero, name: velero", "namespace: "+f.namespace+", name: "+f.account,
		"namespace: velero\n", "namespace: "+f.namespace+"\n",
		"serviceaccount:velero:velero", "serviceaccount:"+f.namespace+":"+f.account,
		"orValue('') == 'velero'", "orValue('') == '"+staging+"'",
	).Replace(standing.ReplaceAllString(text, "")), err
}

func (f *printFlags) policy() (string, error) {
	if f.bucket == "" {
		return "", errors.New("print policy needs --bucket")
	}
	prefix := strings.Trim(f.prefix, "/")
	name := "prefix.json"
	if prefix == "" {
		name = "bucket.json"
	}
	text, err := read(path.Join("iam", name))
	return strings.NewReplacer("BUCKET", inJSON(f.bucket), "PREFIX", inJSON(prefix)).Replace(text), err
}

// inJSON is a text as it stands within a string of JSON.
func inJSON(text string) string {
	quoted, _ := json.Marshal(text) // it never fails for a string
	return string(quoted[1 : len(quoted)-1])
}

// lifecycle is a lifecycle configuration, for aws s3api put-bucket-lifecycle-configuration.
func (f *printFlags) lifecycle() (string, error) {
	text, err := read("examples/lifecycle.json")
	if prefix := strings.Trim(f.prefix, "/"); prefix != "" {
		text = strings.ReplaceAll(text, `"Prefix": ""`, fmt.Sprintf(`"Prefix": %q`, prefix+"/"))
	}
	return text, err
}

var imageLine = regexp.MustCompile(`image: \S+`)

// cronJob is an example of a CronJob with these names in it.
func (f *printFlags) cronJob(name string) (string, error) {
	text, err := read("examples/" + name)
	if f.image != "" {
		text = imageLine.ReplaceAllLiteralString(text, "image: "+f.image)
	}
	return strings.NewReplacer(
		`--latest-of, "nightly"`, "--latest-of, "+strconv.Quote(f.schedule), "serviceaccount:velero:", "serviceaccount:"+f.namespace+":",
		"namespace: velero", "namespace: "+f.namespace,
	).Replace(text), err
}
