package download

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"atelier/compute"
)

// busyError says that a server wants to be asked later.
type busyError struct {
	status string
	after  time.Duration // 0: it doesn't say when
}

func (e *busyError) Error() string { return "the server answers " + e.status }

// errSilent is what a connection that stopped talking is ended with.
var errSilent = errors.New("the connection went silent")

// attempt asks for what is missing and appends what comes. Without an error, the part file is whole.
func (t *transfer) attempt(ctx context.Context) error {
	if total := t.total(); total > 0 && t.have == total {
		return nil // and finish judges it
	}
	if err := t.room(); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silence := time.AfterFunc(t.m.o.Stall, func() { end(errSilent) })
	defer silence.Stop()
	r, err := t.request(ctx)
	if err != nil {
		return &permanent{err}
	}
	resp, err := t.m.client.Do(r)
	if err != nil {
		return t.netError(ctx, err)
	}
	defer resp.Body.Close()
	if err := t.answer(resp); err != nil {
		return err
	}
	err = t.copy(ctx, resp.Body, func() { silence.Reset(t.m.o.Stall) }, func() { silence.Stop() })
	if err != nil {
		return t.netError(ctx, err)
	}
	if total := t.total(); total > 0 && t.have < total {
		if resp.ContentLength < 0 && resp.StatusCode == http.StatusOK {
			return t.misfit(t.have)
		}
		return fmt.Errorf("%s ends after %d of %d bytes", t.host, t.have, total)
	}
	return nil
}

// request asks for the bytes from have on, if the file is still the one they were of.
func (t *transfer) request(ctx context.Context) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.req.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("the address at %s cannot be used", t.host)
	}
	r.Header.Set("Accept-Encoding", "identity") // the file itself, not a packed form of it
	if t.noRange && t.have > 0 {
		return r, t.restart()
	}
	if t.have > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.have))
		if c := t.journal.condition(); c != "" {
			r.Header.Set("If-Range", c)
		}
	}
	return r, nil
}

// answer judges the head of a response and leaves the part file ready for its body.
func (t *transfer) answer(resp *http.Response) error {
	now := version{ETag: resp.Header.Get("ETag"), Modified: resp.Header.Get("Last-Modified")}
	var err error
	switch resp.StatusCode {
	case http.StatusOK:
		if now.Total = max(resp.ContentLength, 0); now.Total == 0 && !framed(resp) && t.req.Size == 0 && t.req.SHA256 == "" {
			return &permanent{fmt.Errorf("%s: %s does not say how long it is, so that a dropped connection could not be told from its end", t.name, t.host)}
		}
		if err := t.plausible(resp, now); err != nil {
			return err
		}
		if t.have > 0 {
			if t.journal.differs(now) {
				t.lost++
			} else {
				t.noRange = true
			}
			err = t.restart()
		}
		t.pieces = false
	case http.StatusPartialContent:
		from, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if now.Total = total; !ok || from != t.have || t.have == 0 {
			t.noRange = true
			return errors.New("the server answers with another part than was asked for")
		}
		if err := t.plausible(resp, now); err != nil {
			return err
		}
		if t.journal.differs(now) {
			return t.stale("the file has changed on the server, so it begins again")
		}
		t.pieces = true
	case http.StatusRequestedRangeNotSatisfiable:
		return t.stale("the server has fewer bytes than have come, so it begins again")
	default:
		return t.refusal(resp)
	}
	if now.Total == 0 {
		now.Total = t.journal.Total
	}
	t.journal.version = now
	if err == nil {
		err = t.save()
	}
	if err != nil {
		return &permanent{t.writeError(err)}
	}
	return t.room()
}

// stale throws away bytes of another state of the file.
func (t *transfer) stale(why string) error {
	t.lost++
	if err := t.restart(); err != nil {
		return &permanent{t.writeError(err)}
	}
	return errors.New(why)
}

// framed reports whether the end of a body without a length can be told from a dropped connection.
func framed(resp *http.Response) bool {
	return resp.ContentLength >= 0 || resp.ProtoMajor >= 2 || slices.Contains(resp.TransferEncoding, "chunked")
}

// plausible refuses bodies that cannot be the file.
func (t *transfer) plausible(resp *http.Response, now version) error {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if ext := strings.ToLower(filepath.Ext(t.name)); kind == "text/html" && ext != ".html" && ext != ".htm" {
		return &permanent{fmt.Errorf("%s: %s sends a web page in its place; perhaps the terms must be accepted there first, or a token be set for it", t.name, t.host)}
	}
	if t.req.Size > 0 && now.Total > 0 && now.Total != t.req.Size {
		return t.misfit(now.Total)
	}
	return nil
}

// refusal is what a status that brings no file means.
func (t *transfer) refusal(resp *http.Response) error {
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &permanent{fmt.Errorf("%s: %s wants to know who asks (%s): set a token for this host, and accept the model's terms there if it has any", t.name, t.host, status)}
	case code == http.StatusNotFound || code == http.StatusGone:
		return &permanent{fmt.Errorf("%s: %s does not have it (%s); perhaps it was moved or renamed", t.name, t.host, status)}
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		return &busyError{status, retryAfter(resp.Header.Get("Retry-After"))}
	}
	return &permanent{fmt.Errorf("%s: %s answers %s", t.name, t.host, status)}
}

// retryAfter reads seconds or a date; 0 for neither.
func retryAfter(v string) time.Duration {
	if s, err := strconv.Atoi(v); err == nil && s >= 0 && s < 1<<20 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// contentRange reads "bytes FROM-TO/TOTAL"; a total of "*" is 0.
func contentRange(v string) (from, total int64, ok bool) {
	unit, rest, _ := strings.Cut(v, " ")
	span, all, found := strings.Cut(rest, "/")
	first, last, dashed := strings.Cut(span, "-")
	if unit != "bytes" || !found || !dashed {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	to, lastErr := strconv.ParseInt(last, 10, 64)
	if err != nil || lastErr != nil || from < 0 || to < from {
		return 0, 0, false
	}
	if all == "*" {
		return from, 0, true
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return from, total, err == nil && total > to
}

// netError is a transport's error in a few words, without the address, which may hold a signature.
func (t *transfer) netError(ctx context.Context, err error) error {
	var p *permanent
	if errors.As(err, &p) {
		return &permanent{fmt.Errorf("%s: %s: %w", t.name, t.host, p.error)}
	}
	if context.Cause(ctx) == errSilent {
		return errSilent
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		return &permanent{fmt.Errorf("%s: %s cannot prove that it is that host (%w)", t.name, t.host, bad.Err)}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("the host %s cannot be found; check the connection to the network", dns.Name)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the connection dropped")
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("the connection failed (%w)", op.Err)
	}
	return err
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the server"
	}
	return u.Host
}

func size(n int64) string { return compute.FormatBytes(n) }
