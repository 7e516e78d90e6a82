package s3

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// hurried asks for a range of an object, and once more if the answer does not begin while others of
// the FS are brought theirs; the second time it is as patient as ever. It does so with the SDK's first
// attempt alone: the later ones may wait because the server wants to be asked less.
type hurried struct {
	*http.Transport
	lag    time.Duration
	pulse  *pulse
	budget *budget
	log    *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (h *hurried) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Range") == "" || !strings.HasPrefix(req.Header.Get("Amz-Sdk-Request"), "attempt=1;") {
		return h.Transport.RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := watch{lag: h.lag, pulse: h.pulse, budget: h.budget, cancel: cancel}
	w.begin()
	resp, err := h.Transport.RoundTrip(req.WithContext(ctx))
	why := w.end()
	if why == nil && err == nil {
		if resp.StatusCode/100 == 2 { // a refusal is no sign that others are served
			h.pulse.beat()
		}
		return resp, nil // its body needs ctx, which ends with that of req
	}
	cancel(nil)
	if why == nil {
		return nil, err
	}
	if err == nil {
		_ = resp.Body.Close() // cut already
	}
	h.log.Debug("request is made again", "path", req.URL.Path, "range", req.Header.Get("Range"), "cause", why)
	return h.Transport.RoundTrip(req)
}
