package s3

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// hurried asks for a range of an object and fails if the answer does not begin while others of the
// FS are brought theirs. It does so with the SDK's first attempt alone, and the next is as patient as
// ever: what waits for the SDK to ask again, since the server wants to be asked less, is not hurried.
type hurried struct {
	*http.Transport
	lag    time.Duration
	pulse  *pulse
	budget *budget // a request made again takes of it, too
	log    *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (h *hurried) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Range") == "" || !strings.HasPrefix(req.Header.Get("Amz-Sdk-Request"), "attempt=1;") || !h.budget.ample() {
		return h.Transport.RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := watch{lag: h.lag, pulse: h.pulse, cancel: cancel}
	w.begin()
	resp, err := h.Transport.RoundTrip(req.WithContext(ctx))
	why := w.end()
	if why == nil && err == nil {
		h.pulse.beat()
		return resp, nil // its body needs ctx, which ends with that of req
	}
	defer cancel(nil)
	if why == nil {
		return nil, err
	}
	if err == nil {
		_ = resp.Body.Close() // cut already
	}
	h.budget.take()
	h.log.Debug("request is made again", "path", req.URL.Path, "range", req.Header.Get("Range"), "cause", why)
	return nil, why
}
