// Package download fetches large files over HTTP: several at once, resumed after dropped connections and across restarts,
// checked before they appear under their names.
//
// While NAME is on its way, its folder holds NAME.part with what has come so far, and NAME.part.json with where it comes from and
// how the server told this version of the file from others. NAME itself is there whole or not at all, and never replaces a file.
package download

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"atelier/app/disk"

	"golang.org/x/time/rate"
)

// Request is a file to fetch.
type Request struct {
	URL    string
	Path   string // where the whole file goes; nothing may be there yet
	Size   int64  // in bytes; 0 takes the server's word
	SHA256 string // in hex; "" leaves the contents unchecked
}

// State is what a download is doing.
type State string

// A download waits its turn, runs and is checked; it ends done, failed or cancelled. A paused or failed one goes on with Resume.
const (
	Queued    State = "queued"
	Running   State = "running"
	Checking  State = "checking"
	Paused    State = "paused"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Rests reports whether nothing happens any more by itself.
func (s State) Rests() bool { return s != Queued && s != Running && s != Checking }

// Status is a download as it stands.
type Status struct {
	ID int
	Request
	State State
	Have  int64         // bytes on the disk, or, while checking, bytes checked
	Total int64         // 0 where the server does not say
	Speed float64       // bytes a second over the last few seconds
	Left  time.Duration // at that speed; 0 unknown
	Note  string        // a sentence on what is in the way, such as a dropped connection; "" while all is well
	Err   error         // why it failed
}

// Options are what all downloads of a manager share. The zero value is what people want.
type Options struct {
	Parallel  int           // files at once; 0 is 2
	Limit     int64         // bytes a second, all together; 0 is none
	Retries   int           // tries in a row that bring nothing before a download fails; 0 is 8
	Wait      time.Duration // before the first of them, doubled for each further one up to a minute; 0 is half a second
	Stall     time.Duration // a connection that is silent for so long counts as dropped; 0 is half a minute
	UserAgent string

	// Token gives what signs a person in at a host (with its port, where it is not the usual one); "" for none. It goes to that host
	// alone, and only over HTTPS or to this machine itself, wherever the host redirects to.
	Token func(host string) string

	Transport http.RoundTripper                  // nil connects as http.DefaultTransport does, by the proxies of the environment
	Free      func(folder string) (int64, error) // nil asks the file system
	Notify    func(Status)                       // called from any goroutine when a download changes, ten times a second at most
}

// Manager keeps a queue of downloads. Its methods may be called from any goroutine.
type Manager struct {
	o       Options
	client  *http.Client
	limiter *rate.Limiter

	mu      sync.Mutex
	items   []*item
	running int
	closed  bool
	wg      sync.WaitGroup
}

// item is a download of the queue; all but its id is guarded by the manager's mu.
type item struct {
	id      int
	status  Status
	want    State         // why it was stopped, "" while it is wanted
	stop    func()        // of the run in progress
	changed chan struct{} // closed at the next change of state
	told    time.Time
}

// New gives a manager with an empty queue.
func New(o Options) *Manager {
	setDefault(&o.Parallel, 2)
	setDefault(&o.Retries, 8)
	setDefault(&o.Wait, time.Second/2)
	setDefault(&o.Stall, 30*time.Second)
	if o.UserAgent == "" {
		o.UserAgent = "Atelier"
	}
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone() // with its proxies of the environment
		t.ResponseHeaderTimeout = o.Stall
		o.Transport = t
	}
	if o.Free == nil {
		o.Free = disk.Free
	}
	m := &Manager{o: o, limiter: rate.NewLimiter(rate.Inf, chunk)}
	m.client = &http.Client{Transport: &signer{o.Transport, o.Token, o.UserAgent}, CheckRedirect: checkRedirect}
	m.SetLimit(o.Limit)
	return m
}

func setDefault[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// SetLimit changes how many bytes a second all downloads together take; 0 is no limit.
func (m *Manager) SetLimit(bytes int64) {
	if bytes <= 0 {
		m.limiter.SetLimit(rate.Inf)
		return
	}
	m.limiter.SetLimit(rate.Limit(bytes))
}

var isSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check refuses a request that cannot be carried out.
func (r *Request) check() error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("this is not the address of a file to download: it does not begin with https:// or http:// and a host")
	case u.User != nil:
		return fmt.Errorf("the address at %s holds a name or password: take it out, and set a token for the host instead", u.Host)
	}
	if r.SHA256 = strings.ToLower(r.SHA256); r.SHA256 != "" && !isSHA256.MatchString(r.SHA256) {
		return fmt.Errorf("the SHA-256 of %s is not 64 hex digits", filepath.Base(r.Path))
	}
	if _, err := os.Lstat(r.Path); err == nil {
		return &os.PathError{Op: "download", Path: r.Path, Err: os.ErrExist}
	}
	return nil
}

// Add puts a file at the end of the queue and gives the download's id. What an earlier download of the same file left behind, in
// this process or another, is taken up. The error of a path that is taken is fs.ErrExist.
func (m *Manager) Add(r Request) (int, error) {
	path, err := filepath.Abs(r.Path)
	if err != nil {
		return 0, err
	}
	r.Path = path
	if err := r.check(); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, fmt.Errorf("the folder %s cannot be made: %s", filepath.Dir(path), disk.Reason(err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, errors.New("downloads have ended")
	}
	for _, it := range m.items {
		if it.status.Path == path && it.status.State != Cancelled && it.status.State != Done {
			return 0, fmt.Errorf("%s is being downloaded already", filepath.Base(path))
		}
	}
	it := &item{id: len(m.items) + 1, changed: make(chan struct{})}
	it.status = Status{ID: it.id, Request: r, State: Queued, Total: r.Size, Have: partSize(path)}
	m.items = append(m.items, it)
	m.schedule()
	return it.id, nil
}

func partSize(path string) int64 {
	if info, err := os.Stat(path + partSuffix); err == nil {
		return info.Size()
	}
	return 0
}

// schedule starts what is next while there is room; the caller holds mu.
func (m *Manager) schedule() {
	for _, it := range m.items {
		if m.closed || m.running >= m.o.Parallel {
			return
		}
		if it.status.State != Queued {
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		it.stop, it.want = stop, ""
		it.set(Running, nil)
		m.running++
		m.wg.Go(func() {
			m.settle(it, newTransfer(m, it).run(ctx))
			stop()
		})
	}
}

// set changes the state; the caller holds mu.
func (it *item) set(s State, err error) {
	it.status.State, it.status.Err = s, err
	it.status.Speed, it.status.Left, it.status.Note = 0, 0, ""
	close(it.changed)
	it.changed = make(chan struct{})
	it.told = time.Time{}
}

// settle records how a run ended and lets the next one begin.
func (m *Manager) settle(it *item, err error) {
	m.mu.Lock()
	m.running--
	switch {
	case err == nil:
		it.set(Done, nil)
	case it.want == Cancelled:
		removeParts(it.status.Path)
		it.status.Have = 0
		it.set(Cancelled, nil)
	case it.want == Paused:
		it.set(Paused, nil)
	default:
		it.set(Failed, err)
	}
	m.schedule()
	s := it.status
	m.mu.Unlock()
	m.notify(s)
}

func (m *Manager) notify(s Status) {
	if m.o.Notify != nil {
		m.o.Notify(s)
	}
}

// update changes the status of a running download and tells of it now and then.
func (m *Manager) update(it *item, change func(*Status)) {
	const often = time.Second / 10
	m.mu.Lock()
	change(&it.status)
	s, tell := it.status, time.Since(it.told) >= often
	if tell {
		it.told = time.Now()
	}
	m.mu.Unlock()
	if tell {
		m.notify(s)
	}
}

// find gives a download of the queue; the caller holds mu.
func (m *Manager) find(id int) (*item, error) {
	if id < 1 || id > len(m.items) {
		return nil, fmt.Errorf("there is no download %d", id)
	}
	return m.items[id-1], nil
}

// Pause stops a download and keeps what has come.
func (m *Manager) Pause(id int) error { return m.halt(id, Paused) }

// Cancel stops a download and removes what has come.
func (m *Manager) Cancel(id int) error { return m.halt(id, Cancelled) }

func (m *Manager) halt(id int, want State) error {
	m.mu.Lock()
	it, err := m.find(id)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	switch state := it.status.State; {
	case state == Running || state == Checking:
		if it.want != Cancelled { // which a later pause doesn't take back
			it.want = want
		}
		it.stop()
		m.mu.Unlock()
		return nil
	case state == Done || state == Cancelled:
		m.mu.Unlock()
		return fmt.Errorf("%s is %s already", filepath.Base(it.status.Path), state)
	}
	if want == Cancelled {
		removeParts(it.status.Path)
		it.status.Have = 0
	}
	it.set(want, nil)
	s := it.status
	m.mu.Unlock()
	m.notify(s)
	return nil
}

// Resume puts a paused or failed download back in the queue.
func (m *Manager) Resume(id int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, err := m.find(id)
	if err != nil {
		return err
	}
	if s := it.status.State; s != Paused && s != Failed {
		return fmt.Errorf("%s is %s: only a paused or failed download is resumed", filepath.Base(it.status.Path), s)
	}
	it.set(Queued, nil)
	m.schedule()
	return nil
}

// List gives all downloads in the order they were added.
func (m *Manager) List() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Status, len(m.items))
	for i, it := range m.items {
		list[i] = it.status
	}
	return list
}

// Wait returns when a download rests, with its error where it failed, was paused or cancelled. Where ctx ends first the download
// goes on.
func (m *Manager) Wait(ctx context.Context, id int) (Status, error) {
	for {
		m.mu.Lock()
		it, err := m.find(id)
		if err != nil {
			m.mu.Unlock()
			return Status{}, err
		}
		s, changed := it.status, it.changed
		m.mu.Unlock()
		if s.State.Rests() {
			if s.Err == nil && s.State != Done {
				s.Err = fmt.Errorf("the download of %s was %s", filepath.Base(s.Path), s.State)
			}
			return s, s.Err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// Close pauses what is running and waits for it to be kept. Nothing can be added afterwards; another manager can go on.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	for _, it := range m.items {
		switch it.status.State {
		case Running, Checking:
			if it.want == "" {
				it.want = Paused
			}
			it.stop()
		case Queued:
			it.set(Paused, nil)
		}
	}
	m.mu.Unlock()
	m.wg.Wait()
	m.client.CloseIdleConnections()
}

// Pending lists the downloads that were begun and not finished in a folder and the folders in it, by path.
func Pending(folder string) ([]Request, error) {
	var list []Request
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, journalSuffix) {
			return nil // what cannot be read is nobody's download
		}
		target := strings.TrimSuffix(path, journalSuffix)
		if j, err := readJournal(target); err == nil {
			list = append(list, Request{URL: j.URL, Path: target, Size: j.Size, SHA256: j.SHA256})
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Request) int { return strings.Compare(a.Path, b.Path) })
	return list, err
}
