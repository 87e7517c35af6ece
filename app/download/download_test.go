package download

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server is a host of one file, with the faults that a test wants.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	data     []byte
	etag     string
	modified string
	noRanges bool
	drop     func(request int) int // bytes of the body after which the connection drops; -1 for never
	before   func(request int)
	answer   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	declare  int                                               // Content-Length in place of the true one
	slow     atomic.Int64                                      // nanoseconds for each 16 kB
	requests []http.Header
}

func newServer(t *testing.T, size int) *server {
	s := &server{data: random(size), etag: `"one"`, drop: func(int) int { return -1 }}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Header.Clone())
	n := len(s.requests)
	if s.before != nil {
		s.before(n)
	}
	data, etag, modified := s.data, s.etag, s.modified
	s.mu.Unlock()
	if s.answer != nil && s.answer(w, r) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if etag != "" {
		h.Set("ETag", etag)
	}
	if modified != "" {
		h.Set("Last-Modified", modified)
	}
	from, status := 0, http.StatusOK
	if v := r.Header.Get("Range"); v != "" && !s.noRanges {
		if c := r.Header.Get("If-Range"); c == "" || c == etag || c == modified {
			from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(v, "bytes="), "-"))
			if from >= len(data) {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			status = http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		}
	}
	length := len(data) - from
	if s.declare > 0 {
		length = s.declare - from
	}
	h.Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(status)
	s.send(w, data[from:], s.drop(n))
}

func (s *server) send(w http.ResponseWriter, body []byte, drop int) {
	for sent := 0; sent < len(body); {
		n := min(16<<10, len(body)-sent)
		if drop >= 0 {
			n = min(n, drop-sent)
		}
		if n <= 0 {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(body[sent : sent+n]); err != nil {
			return
		}
		sent += n
		if s.slow.Load() > 0 {
			w.(http.Flusher).Flush()
			time.Sleep(time.Duration(s.slow.Load()))
		}
	}
}

func (s *server) sum() string {
	h := sha256.Sum256(s.data)
	return hex.EncodeToString(h[:])
}

func quick(o Options) Options {
	o.Wait, o.Stall = time.Millisecond, 5*time.Second
	return o
}

func manager(t *testing.T, o Options) *Manager {
	m := New(quick(o))
	t.Cleanup(m.Close)
	return m
}

// get downloads one file and gives its path, its status and what the folder holds afterwards.
func get(t *testing.T, m *Manager, r Request) (Status, []string) {
	t.Helper()
	if r.Path == "" {
		r.Path = filepath.Join(t.TempDir(), "model.safetensors")
	}
	id, err := m.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, _ := m.Wait(ctx, id)
	return s, folder(filepath.Dir(r.Path))
}

func folder(dir string) []string {
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantWhole(t *testing.T, s Status, files []string, data []byte) {
	t.Helper()
	if s.State != Done {
		t.Fatalf("%s: %v (%s)", s.State, s.Err, s.Note)
	}
	if got, err := os.ReadFile(s.Path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(data))
	}
	if want := []string{filepath.Base(s.Path)}; !slices.Equal(files, want) {
		t.Errorf("the folder holds %q", files)
	}
	if s.Have != int64(len(data)) || s.Total != s.Have {
		t.Errorf("status says %d of %d", s.Have, s.Total)
	}
}

func TestDropsAtRandomBytes(t *testing.T) {
	for seed := range uint64(6) {
		s := newServer(t, 700_001)
		r := rand.New(rand.NewPCG(seed, 9))
		s.drop = func(n int) int { return 1 + r.IntN(200_000) }
		st, files := get(t, manager(t, Options{}), Request{URL: s.URL, SHA256: s.sum(), Size: int64(len(s.data))})
		wantWhole(t, st, files, s.data)
		if len(s.requests) < 3 {
			t.Errorf("%d requests", len(s.requests))
		}
		for _, h := range s.requests[1:] {
			if h.Get("Range") != "" && h.Get("If-Range") != s.etag {
				t.Errorf("range %q without a condition: %q", h.Get("Range"), h.Get("If-Range"))
			}
		}
	}
}

func TestWithoutLengthOrSum(t *testing.T) {
	s := newServer(t, 100_000)
	st, files := get(t, manager(t, Options{}), Request{URL: s.URL})
	wantWhole(t, st, files, s.data)
	s.answer = func(w http.ResponseWriter, r *http.Request) bool { // chunked
		w.Write(s.data[:50_000])
		w.(http.Flusher).Flush()
		w.Write(s.data[50_000:])
		return true
	}
	st, files = get(t, manager(t, Options{}), Request{URL: s.URL})
	wantWhole(t, st, files, s.data)
	s.answer = func(w http.ResponseWriter, r *http.Request) bool { // ends with the connection
		c, buf, _ := w.(http.Hijacker).Hijack()
		buf.WriteString("HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n")
		buf.Write(s.data)
		buf.Flush()
		c.Close()
		return true
	}
	if st, _ = get(t, manager(t, Options{}), Request{URL: s.URL}); st.State != Failed || !strings.Contains(st.Err.Error(), "does not say how long") {
		t.Errorf("%s %v", st.State, st.Err)
	}
	st, files = get(t, manager(t, Options{}), Request{URL: s.URL, SHA256: s.sum()})
	wantWhole(t, st, files, s.data)
}

func TestResumesAcrossRestarts(t *testing.T) {
	for _, sum := range []bool{true, false} {
		s := newServer(t, 400_000)
		s.slow.Store(int64(20 * time.Millisecond))
		r := Request{URL: s.URL, Path: filepath.Join(t.TempDir(), "sub", "a.ckpt")}
		if sum {
			r.SHA256 = s.sum()
		}
		half := make(chan bool, 100)
		first := New(quick(Options{Notify: func(st Status) {
			if st.Have > 100_000 {
				half <- true
			}
		}}))
		if _, err := first.Add(r); err != nil {
			t.Fatal(err)
		}
		<-half
		first.Close()
		if pending, err := Pending(filepath.Dir(filepath.Dir(r.Path))); err != nil || len(pending) != 1 || pending[0] != r {
			t.Fatalf("pending %+v, %v", pending, err)
		}
		s.slow.Store(0)
		st, files := get(t, manager(t, Options{}), r)
		wantWhole(t, st, files, s.data)
		last := s.requests[len(s.requests)-1]
		if from, _ := strconv.Atoi(strings.Trim(last.Get("Range"), "bytes=-")); from < 100_000 {
			t.Errorf("went on from %q", last.Get("Range"))
		}
	}
}

func TestServerWithoutRangesBeginsAgain(t *testing.T) {
	s := newServer(t, 300_000)
	s.noRanges = true
	s.drop = func(n int) int {
		if n < 4 {
			return 100_000 * n / 2
		}
		return -1
	}
	st, files := get(t, manager(t, Options{}), Request{URL: s.URL, SHA256: s.sum()})
	wantWhole(t, st, files, s.data)
}

func TestFileThatChangesInBetween(t *testing.T) {
	changed := random(250_000)
	for name, set := range map[string]func(s *server, second bool){
		"etag":      func(s *server, second bool) { s.etag = fmt.Sprintf(`"%v"`, second) },
		"weak etag": func(s *server, second bool) { s.etag = fmt.Sprintf(`W/"%v"`, second) },
		"date": func(s *server, second bool) {
			s.etag, s.modified = "", map[bool]string{false: "Mon, 02 Jan 2023 15:04:05 GMT", true: "Tue, 03 Jan 2023 15:04:05 GMT"}[second]
		},
		"length alone": func(s *server, second bool) { s.etag = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, 300_000)
			set(s, false)
			s.drop = func(n int) int {
				if n == 1 {
					return 200_000
				}
				return -1
			}
			s.before = func(n int) {
				if n == 2 {
					s.data = changed
					set(s, true)
				}
			}
			st, files := get(t, manager(t, Options{}), Request{URL: s.URL})
			wantWhole(t, st, files, changed)
		})
	}
}

func TestWrongContentsAreNotKept(t *testing.T) {
	s := newServer(t, 50_000)
	st, files := get(t, manager(t, Options{}), Request{URL: s.URL, SHA256: strings.Repeat("0", 64)})
	if st.State != Failed || !strings.Contains(st.Err.Error(), s.sum()) || len(files) != 0 {
		t.Errorf("%s %v %q", st.State, st.Err, files)
	}
	// A part file that another state of the file left, with the same length and no tag: the sum tells, and it is fetched whole.
	path := filepath.Join(t.TempDir(), "a.safetensors")
	os.WriteFile(path+partSuffix, random(20_000), 0o644)
	j := journal{URL: s.URL, SHA256: s.sum(), Have: 20_000}
	j.write(path)
	st, files = get(t, manager(t, Options{}), Request{URL: s.URL, SHA256: s.sum(), Path: path})
	wantWhole(t, st, files, s.data)
}

func TestLiesAboutLength(t *testing.T) {
	for _, c := range []struct {
		name    string
		declare int
		size    int64
		want    string
	}{
		{"longer than it is", 150_000, 0, "fewer bytes"},
		{"longer than is expected", 150_000, 100_000, "150000 bytes where 100000 are expected"},
		{"shorter than is expected", 60_000, 100_000, "60000 bytes where 100000 are expected"},
	} {
		s := newServer(t, 100_000)
		s.declare = c.declare
		st, files := get(t, manager(t, Options{Retries: 3}), Request{URL: s.URL, SHA256: s.sum(), Size: c.size})
		if st.State != Failed || !strings.Contains(st.Err.Error(), c.want) || slices.Contains(files, "model.safetensors") {
			t.Errorf("%s: %s %v %q", c.name, st.State, st.Err, files)
		}
	}
}

func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		code  int
		times int // before it answers well
		want  string
	}{
		{503, 2, ""}, {429, 1, ""}, {500, 3, ""}, {408, 1, ""},
		{401, 99, "set a token for this host"}, {403, 99, "set a token"}, {404, 99, "does not have it"}, {410, 99, "moved"}, {418, 99, "418"},
		{502, 99, "did not send it in 4 tries"},
	} {
		s := newServer(t, 10_000)
		s.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if len(s.requests) > c.times {
				return false
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(c.code)
			return true
		}
		st, files := get(t, manager(t, Options{Retries: 3}), Request{URL: s.URL, SHA256: s.sum()})
		if c.want == "" {
			wantWhole(t, st, files, s.data)
		} else if st.State != Failed || !strings.Contains(st.Err.Error(), c.want) || strings.Contains(st.Err.Error(), "\n") {
			t.Errorf("%d: %s %v", c.code, st.State, st.Err)
		}
	}
}

func TestWebPageInPlaceOfTheFile(t *testing.T) {
	s := newServer(t, 10)
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<html>sign in</html>")
		return true
	}
	if st, files := get(t, manager(t, Options{}), Request{URL: s.URL}); st.State != Failed || !strings.Contains(st.Err.Error(), "web page") || slices.Contains(files, "model.safetensors") {
		t.Errorf("%s %v %q", st.State, st.Err, files)
	}
}

func TestTokenStaysAtItsHost(t *testing.T) {
	far, near := newServer(t, 5000), newServer(t, 1)
	near.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, far.URL+"/blob?signature=secret", http.StatusFound)
		return true
	}
	tokens := map[string]string{strings.TrimPrefix(near.URL, "http://"): "hf_private"}
	m := manager(t, Options{Token: func(host string) string { return tokens[host] }})
	st, files := get(t, m, Request{URL: near.URL + "/file", SHA256: far.sum()})
	wantWhole(t, st, files, far.data)
	if got := near.requests[0].Get("Authorization"); got != "Bearer hf_private" {
		t.Errorf("at home %q", got)
	}
	for _, name := range []string{"Authorization", "Referer", "Cookie"} {
		if got := far.requests[0].Get(name); got != "" {
			t.Errorf("elsewhere %s is %q", name, got)
		}
	}
	far.answer = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(403); return true }
	if st, _ = get(t, m, Request{URL: near.URL + "/file"}); st.Err == nil || strings.Contains(st.Err.Error(), "secret") || strings.Contains(st.Err.Error(), "private") {
		t.Errorf("%v", st.Err)
	}
	near.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "/file", http.StatusFound)
		return true
	}
	if st, _ = get(t, m, Request{URL: near.URL + "/file"}); st.Err == nil || !strings.Contains(st.Err.Error(), "in circles") {
		t.Errorf("%v", st.Err)
	}
}

func TestPauseResumeCancel(t *testing.T) {
	s := newServer(t, 500_000)
	s.slow.Store(int64(10 * time.Millisecond))
	moving := make(chan bool, 1000)
	m := manager(t, Options{Parallel: 1, Notify: func(st Status) { moving <- st.Have > 0 && st.State == Running }})
	dir := t.TempDir()
	a, err := m.Add(Request{URL: s.URL, Path: filepath.Join(dir, "a.bin"), SHA256: s.sum()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Add(Request{URL: s.URL, Path: filepath.Join(dir, "b.bin")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Add(Request{URL: s.URL, Path: filepath.Join(dir, "b.bin")}); err == nil {
		t.Error("the same file twice")
	}
	for !<-moving {
	}
	if l := m.List(); l[0].State != Running || l[1].State != Queued {
		t.Errorf("with one at a time: %s, %s", l[0].State, l[1].State)
	}
	ctx := context.Background()
	m.Pause(a)
	if st, err := m.Wait(ctx, a); st.State != Paused || err == nil || st.Have == 0 {
		t.Errorf("%s %v, %d bytes", st.State, err, st.Have)
	}
	m.Cancel(b)
	if st, _ := m.Wait(ctx, b); st.State != Cancelled {
		t.Errorf("%s", st.State)
	}
	if got := folder(dir); !slices.Equal(got, []string{"a.bin.part", "a.bin.part.json"}) {
		t.Errorf("after cancelling b: %q", got)
	}
	s.slow.Store(0)
	if err := m.Resume(a); err != nil {
		t.Fatal(err)
	}
	st, err := m.Wait(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, st, folder(dir), s.data)
	if m.Resume(a) == nil || m.Cancel(a) == nil || m.Pause(77) == nil {
		t.Error("what is over was changed")
	}
	if _, err := m.Add(Request{URL: s.URL, Path: st.Path}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is there: %v", err)
	}
}

func TestRoomOnTheDisk(t *testing.T) {
	s := newServer(t, 200_000)
	free := int64(100_000)
	m := manager(t, Options{Free: func(string) (int64, error) { return free, nil }})
	st, files := get(t, m, Request{URL: s.URL})
	if st.State != Failed || !strings.Contains(st.Err.Error(), "free some space") || slices.Contains(files, "model.safetensors") {
		t.Fatalf("%s %v", st.State, st.Err)
	}
	free = 1 << 30
	if err := m.Resume(st.ID); err != nil {
		t.Fatal(err)
	}
	if st, err := m.Wait(context.Background(), st.ID); err != nil {
		t.Error(st, err)
	}
}

func TestDiskThatFillsUpMeanwhile(t *testing.T) {
	s := newServer(t, 2_000_000)
	s.slow.Store(int64(20 * time.Millisecond))
	asked := 0
	m := manager(t, Options{Free: func(string) (int64, error) {
		if asked++; asked > 2 {
			return reserve / 2, nil
		}
		return 1 << 30, nil
	}})
	st, files := get(t, m, Request{URL: s.URL})
	if st.State != Failed || !strings.Contains(st.Err.Error(), "free some space") || st.Have == 0 || !slices.Contains(files, "model.safetensors.part") {
		t.Errorf("%s %v, %d bytes, %q", st.State, st.Err, st.Have, files)
	}
}

func TestTwoProgramsDoNotShareAFile(t *testing.T) {
	s := newServer(t, 500_000)
	s.slow.Store(int64(10 * time.Millisecond))
	moving := make(chan bool, 1000)
	r := Request{URL: s.URL, Path: filepath.Join(t.TempDir(), "a.bin")}
	first := manager(t, Options{Notify: func(st Status) { moving <- st.Have > 0 }})
	if _, err := first.Add(r); err != nil {
		t.Fatal(err)
	}
	for !<-moving {
	}
	second := manager(t, Options{})
	if st, _ := get(t, second, r); st.State != Failed || !strings.Contains(st.Err.Error(), "another program") {
		t.Errorf("%s %v", st.State, st.Err)
	}
	if err := second.Cancel(1); err != nil { // which must not take the first one's file away
		t.Error(err)
	}
	if st, err := first.Wait(context.Background(), 1); err != nil || st.State != Done {
		t.Errorf("%s %v", st.State, err)
	}
}

func TestPauseDoesNotTakeCancelBack(t *testing.T) {
	s := newServer(t, 500_000)
	s.slow.Store(int64(10 * time.Millisecond))
	moving := make(chan bool, 1000)
	r := Request{URL: s.URL, Path: filepath.Join(t.TempDir(), "a.bin")}
	m := manager(t, Options{Notify: func(st Status) { moving <- st.Have > 0 }})
	id, err := m.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	for !<-moving {
	}
	if err := m.Cancel(id); err != nil {
		t.Fatal(err)
	}
	m.Pause(id) // an error where it has been cancelled by now
	if st, _ := m.Wait(context.Background(), id); st.State != Cancelled {
		t.Errorf("%s", st.State)
	}
	if left := folder(filepath.Dir(r.Path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLimitAndSpeed(t *testing.T) {
	s := newServer(t, 200_000)
	var mu sync.Mutex
	var seen []Status
	m := manager(t, Options{Limit: 200_000, Notify: func(st Status) { mu.Lock(); seen = append(seen, st); mu.Unlock() }})
	start := time.Now()
	st, files := get(t, m, Request{URL: s.URL, Size: 200_000})
	wantWhole(t, st, files, s.data)
	if d := time.Since(start); d < 500*time.Millisecond || d > 3*time.Second { // a burst of 64 kB comes first
		t.Errorf("took %v", d)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.ContainsFunc(seen, func(st Status) bool { return st.Speed > 50_000 && st.Speed < 1_000_000 && st.Left > 0 }) {
		t.Error("no speed and time left were told")
	}
}

func TestSilentConnection(t *testing.T) {
	s := newServer(t, 100_000)
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if len(s.requests) > 1 {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		w.Write(s.data[:10_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	m := New(Options{Wait: time.Millisecond, Stall: 100 * time.Millisecond})
	defer m.Close()
	st, files := get(t, m, Request{URL: s.URL, SHA256: s.sum()})
	wantWhole(t, st, files, s.data)
}

func TestRefusesRequests(t *testing.T) {
	m := manager(t, Options{})
	for _, c := range []struct{ url, sum, want string }{
		{"ftp://host/x", "", "https://"}, {"/etc/passwd", "", "https://"}, {"https://me:secret@host/x", "", "token"}, {"https://host/x", "abc", "64 hex"},
	} {
		if _, err := m.Add(Request{URL: c.url, SHA256: c.sum, Path: filepath.Join(t.TempDir(), "x")}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.url, err)
		}
	}
}
