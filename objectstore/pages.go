package objectstore

import (
	"context"
	"net/http"
	"sync"
)

type pagesKey struct{}

// pagesSeen notes which pages a listing has asked for. A server that gives out
// the same continuation twice would keep it going for ever.
type pagesSeen struct {
	mu    sync.Mutex
	pages map[string]bool
}

func withPages(ctx context.Context) context.Context {
	return context.WithValue(ctx, pagesKey{}, &pagesSeen{pages: map[string]bool{}})
}

// checkPage refuses a request for a page that its listing has had.
func checkPage(req *http.Request) error {
	seen, ok := req.Context().Value(pagesKey{}).(*pagesSeen)
	if !ok {
		return nil
	}
	query := req.URL.Query()
	page := query.Get("continuation-token") + query.Get("marker")
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.pages[page] {
		return faultf(KindNotS3, "the listing goes in a circle: the storage gave the continuation %q twice", page)
	}
	seen.pages[page] = true
	return nil
}
