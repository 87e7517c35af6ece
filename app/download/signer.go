package download

import (
	"errors"
	"fmt"
	"net"
	"net/http"
)

// signer signs requests in at their own hosts. A redirected request comes through here again under its new host, so no token
// travels on.
type signer struct {
	next      http.RoundTripper
	token     func(host string) string
	userAgent string
}

// RoundTrip sends one request, without following redirects.
func (s *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for _, h := range []string{"Authorization", "Cookie", "Referer"} {
		r.Header.Del(h)
	}
	r.Header.Set("User-Agent", s.userAgent)
	if s.token != nil && (r.URL.Scheme == "https" || local(r.URL.Hostname())) {
		if t := s.token(r.URL.Host); t != "" {
			r.Header.Set("Authorization", "Bearer "+t)
		}
	}
	return s.next.RoundTrip(r)
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

const mostRedirects = 10

func checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > mostRedirects:
		return &permanent{errors.New("it redirects in circles")}
	case r.URL.Scheme != "https" && via[0].URL.Scheme == "https" && !local(r.URL.Hostname()):
		return &permanent{fmt.Errorf("it redirects to %s without encryption", r.URL.Host)}
	}
	return nil
}
