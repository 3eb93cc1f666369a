package listing

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/heap"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

const (
	// listTimeout bounds a whole listing, of however many pages.
	listTimeout = 15 * time.Minute
	// listLimit is how many bytes the names of a listing may take together, with
	// nameCost for each of them, however short it is.
	listLimit = 48 << 20
	nameCost  = 64
	// manyBytes is how many of them make a listing a large one.
	manyBytes = 1 << 20
	// idlePages is how many pages in a row may bring nothing new. A server may
	// give empty pages while it skips what was deleted.
	idlePages = 20
	// listRestarts is how often a listing may begin again.
	listRestarts = 2
)

// page is one answer to a listing. Only what is needed is read: a date or a size
// in an odd form does no harm.
type page struct {
	IsTruncated           string
	EncodingType          string
	NextContinuationToken string // of the second call
	NextMarker            string // of the first, and not of every server
	NextKeyMarker         string // of versions
	NextVersionIDMarker   string `xml:"NextVersionIdMarker"`
	NextUploadIDMarker    string `xml:"NextUploadIdMarker"`
	Contents              []entry
	CommonPrefixes        []folder
	Version, DeleteMarker []entry
	Upload                []entry
}

// entry is an object, a version of one, or an upload.
type entry struct {
	Key       string
	VersionID string `xml:"VersionId"`
	IsLatest  string
	UploadID  string `xml:"UploadId"`
	Initiated string
}

// folder stands for all keys that begin so.
type folder struct{ Prefix string }

// pager gives the pages of one listing.
type pager struct {
	client *client.Client
	bucket string
	query  url.Values // of every page
	root   string
	after  func(*pager, page, []string) (url.Values, error) // the query of the page behind one with these names

	last  string          // the greatest name
	seen  map[string]bool // names that came behind a greater one
	bytes int             // of all names
	large bool            // the heap is held small
	idle  int             // pages in a row that brought nothing new
}

// all calls each with every page. A page that fails is asked for again with the
// same continuation, so that nothing depends on the order of the names. Where a
// continuation is not accepted any more, begin is called and the listing starts
// again. The listing is complete, or there is an error.
func (p *pager) all(ctx context.Context, begin func(), each func(page)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, listTimeout, s3err.Errorf(s3err.Timeout, "the listing was not complete after %v", listTimeout))
	defer cancel()
	defer p.releaseIfLarge()
	for restarts := 0; ; restarts++ {
		begin()
		p.seen, p.last, p.bytes, p.idle = map[string]bool{}, "", 0, 0
		pages, err := p.once(ctx, each)
		if err == nil || ctx.Err() != nil || pages == 0 || restarts == listRestarts || s3err.KindOf(err) != s3err.Unknown {
			return err
		}
	}
}

// once reads the pages from the first to the last, and returns how many came.
func (p *pager) once(ctx context.Context, each func(page)) (pages int, err error) {
	where := url.Values{}
	for {
		found, err := p.page(ctx, where)
		if err != nil {
			return pages, err
		}
		pages++
		names, err := p.names(&found)
		p.holdIfLarge()
		if err != nil {
			return pages, err
		}
		each(found)
		if !strings.EqualFold(strings.TrimSpace(found.IsTruncated), "true") {
			return pages, nil
		}
		if where, err = p.behind(found, names, where); err != nil {
			return pages, err
		}
	}
}

// holdIfLarge has little garbage beside many names.
func (p *pager) holdIfLarge() {
	if p.bytes > manyBytes && !p.large {
		heap.Hold()
		p.large = true
	}
}

func (p *pager) releaseIfLarge() {
	if p.large {
		heap.Release()
	}
}

func (p *pager) page(ctx context.Context, where url.Values) (page, error) {
	values := url.Values{"encoding-type": {"url"}}
	for _, more := range []url.Values{p.query, where} {
		for name, value := range more {
			values[name] = value
		}
	}
	return client.Query[page](ctx, p.client, client.Brief, p.bucket, values, p.root)
}

// behind returns the query of the page behind found, which must be another one
// than that of found and, in the end, lead to something new.
func (p *pager) behind(found page, names []string, where url.Values) (url.Values, error) {
	following, err := p.after(p, found, names)
	if err != nil {
		return nil, err
	}
	if following.Encode() == where.Encode() {
		return nil, s3err.Errorf(s3err.NotS3, "the listing makes no progress: the storage gave the same continuation twice")
	}
	if p.progress(names) {
		p.idle = 0
	} else if p.idle++; p.idle > idlePages {
		return nil, s3err.Errorf(s3err.NotS3, "the listing makes no progress: %d pages in a row brought nothing new", p.idle)
	}
	return following, nil
}

// progress tells whether a page brought a name that was not there before.
func (p *pager) progress(names []string) bool {
	if len(names) == 0 {
		return false
	}
	if first, last := slices.Min(names), slices.Max(names); first > p.last || p.last == "" {
		p.last = last
		return true
	}
	fresh := false
	for _, name := range names {
		fresh = fresh || !p.seen[name]
		p.seen[name] = true
	}
	return fresh
}

// names decodes the names of a page in place and returns them.
func (p *pager) names(found *page) (names []string, err error) {
	take := func(name *string, version string) {
		if err == nil {
			*name, err = unescape(*found, *name)
		}
		if !strings.HasPrefix(*name, p.query.Get("prefix")) && err == nil {
			err = s3err.Errorf(s3err.NotS3, "the listing of %q shows the key %.200q", p.query.Get("prefix"), *name)
		}
		p.bytes += nameCost + len(*name) + len(version)
		names = append(names, strings.TrimSuffix(*name+"\x00"+version, "\x00"))
	}
	for i := range found.Contents {
		take(&found.Contents[i].Key, "")
	}
	for i := range found.CommonPrefixes {
		take(&found.CommonPrefixes[i].Prefix, "")
	}
	for _, list := range [][]entry{found.Version, found.DeleteMarker} {
		for i := range list {
			take(&list[i].Key, cmp.Or(list[i].VersionID, "null"))
		}
	}
	for i := range found.Upload {
		take(&found.Upload[i].Key, found.Upload[i].UploadID)
	}
	if p.bytes > listLimit && err == nil {
		err = s3err.Errorf(s3err.NotS3, "the names of the listing take more than %d bytes, with %d for each", listLimit, nameCost)
	}
	return names, err
}

// The ways on behind a page.

func byToken(_ *pager, found page, _ []string) (url.Values, error) {
	if found.NextContinuationToken == "" {
		return nil, s3err.Errorf(s3err.Unsupported, "the listing goes on, and the storage gave no continuation token")
	}
	return url.Values{"continuation-token": {found.NextContinuationToken}}, nil
}

// byMarker goes on behind the last name where the server does not say where: S3
// itself does not for a listing without delimiter.
func byMarker(p *pager, found page, names []string) (url.Values, error) {
	marker, err := unescape(found, found.NextMarker)
	if err != nil {
		return nil, err
	}
	if marker == "" && len(names) > 0 && ascend(found) && slices.Min(names) > p.last {
		marker = slices.Max(names)
	}
	if marker == "" {
		return nil, s3err.Errorf(s3err.NotS3, "the listing goes on, and the storage did not say where")
	}
	return url.Values{"marker": {marker}}, nil
}

// ascend tells whether the names of a page are in order.
func ascend(found page) bool {
	return slices.IsSortedFunc(found.Contents, func(a, b entry) int { return strings.Compare(a.Key, b.Key) }) &&
		slices.IsSortedFunc(found.CommonPrefixes, func(a, b folder) int { return strings.Compare(a.Prefix, b.Prefix) })
}

func byVersion(_ *pager, found page, _ []string) (url.Values, error) {
	if found.NextKeyMarker == "" {
		return nil, s3err.Errorf(s3err.NotS3, "the listing of versions goes on, and the storage did not say where")
	}
	marker, err := unescape(found, found.NextKeyMarker)
	return url.Values{"key-marker": {marker}, "version-id-marker": {found.NextVersionIDMarker}}, err
}

func byUpload(_ *pager, found page, _ []string) (url.Values, error) {
	if found.NextKeyMarker == "" {
		return nil, s3err.Errorf(s3err.NotS3, "the listing of uploads goes on, and the storage did not say where")
	}
	marker, err := unescape(found, found.NextKeyMarker)
	return url.Values{"key-marker": {marker}, "upload-id-marker": {found.NextUploadIDMarker}}, err
}

// unescape decodes a name of a page.
func unescape(found page, name string) (string, error) {
	if !strings.EqualFold(found.EncodingType, "url") {
		return name, nil
	}
	plain, err := url.QueryUnescape(name)
	if err != nil {
		return "", s3err.Errorf(s3err.NotS3, "a name of the listing is not encoded as it says: %w", err)
	}
	return plain, nil
}
