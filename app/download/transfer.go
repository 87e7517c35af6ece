package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"atelier/app/disk"
)

const (
	chunk      = 64 << 10    // bytes read at a time
	checkpoint = time.Second // between one time and the next that what has come is forced to the disk
	reserve    = 16 << 20    // bytes that a disk keeps free
	mostWrong  = 3           // answers of another length than was asked for, before they are believed
	mostLost   = 4           // times that what had come proved useless
)

// permanent is an error that another try does not mend.
type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// transfer is one run of a download. Only its own goroutine touches it.
type transfer struct {
	m    *Manager
	it   *item
	req  Request
	name string // of the file, for messages
	host string

	part    *os.File
	journal journal
	have    int64 // bytes in the part file
	pieces  bool  // it did not come in one piece
	whole   bool  // the part file is complete, checked and closed
	useless bool  // nothing of it is worth keeping
	noRange bool  // the server answers ranges wrongly
	wrong   int   // answers of another length than was asked for
	lost    int   // times that what had come proved useless
	saved   time.Time
	meter   meter
}

func newTransfer(m *Manager, it *item) *transfer {
	return &transfer{m: m, it: it, req: it.status.Request, name: filepath.Base(it.status.Path), host: hostOf(it.status.URL)}
}

// run fetches, checks and names the file. The error of an ended ctx is ctx's.
func (t *transfer) run(ctx context.Context) error {
	if err := t.open(); err != nil {
		return err
	}
	defer t.part.Close()
	err := t.fetch(ctx)
	switch {
	case err == nil:
		return nil
	case t.useless:
		t.part.Close() // Windows removes no open file
		removeParts(t.req.Path)
	case !t.whole:
		if saveErr := t.save(); saveErr != nil && ctx.Err() == nil {
			return t.writeError(saveErr)
		}
	}
	var p *permanent
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &p):
		return p.error
	}
	return err
}

// open takes up what an earlier run left, as far as it can be trusted.
func (t *transfer) open() (err error) {
	t.part, err = os.OpenFile(t.req.Path+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return t.writeError(err)
	}
	if !disk.Lock(t.part) {
		t.part.Close()
		return fmt.Errorf("%s is being downloaded by another program", t.name)
	}
	info, err := t.part.Stat()
	if err == nil {
		err = t.adopt(info.Size())
	}
	if err != nil {
		t.part.Close()
		return t.writeError(err)
	}
	return nil
}

// adopt decides how much of a part file of some size is used. Bytes that the journal doesn't vouch for may be zeros after a
// power failure, so they count only where the SHA-256 will tell.
func (t *transfer) adopt(size int64) error {
	j, err := readJournal(t.req.Path)
	switch {
	case err != nil || j.SHA256 != t.req.SHA256 || j.URL != t.req.URL && t.req.SHA256 == "":
		size = 0
	case t.req.SHA256 == "":
		size = min(size, j.Have)
	}
	if size > 0 {
		t.journal, t.pieces = j, true
		if j.URL != t.req.URL {
			t.journal.version = version{} // of another server
		}
	}
	t.journal.URL, t.journal.Size, t.journal.SHA256 = t.req.URL, t.req.Size, t.req.SHA256
	t.have = size
	if err := t.part.Truncate(size); err != nil {
		return err
	}
	return t.save()
}

// fetch tries until the file is there, or there is no sense in going on.
func (t *transfer) fetch(ctx context.Context) error {
	for fails := 0; ; {
		before := t.have
		err := t.attempt(ctx)
		if err == nil {
			err = t.finish(ctx)
		}
		var p *permanent
		if err == nil || ctx.Err() != nil || errors.As(err, &p) {
			return err
		}
		if t.have > before {
			fails = 0
		}
		if fails++; fails > t.m.o.Retries {
			return fmt.Errorf("%s: %s did not send it in %d tries: %w; try again later: what has come is kept", t.name, t.host, fails, err)
		}
		if t.lost > mostLost {
			return fmt.Errorf("%s: what %s sends does not stay the same from one try to the next: %w", t.name, t.host, err)
		}
		wait := t.wait(fails, err)
		t.note(fmt.Sprintf("%v; trying again in %.1f s", err, wait.Seconds()))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait is how long to hold off after some failures in a row, or as long as the server asked for.
func (t *transfer) wait(fails int, err error) time.Duration {
	const most = time.Minute
	var busy *busyError
	if errors.As(err, &busy) && busy.after > 0 {
		return min(busy.after, 10*most)
	}
	return min(t.m.o.Wait<<min(fails-1, 16), most)
}

func (t *transfer) note(text string) {
	t.m.update(t.it, func(s *Status) { s.Note, s.Speed, s.Left = text, 0, 0 })
}

// restart throws away what has come.
func (t *transfer) restart() error {
	t.have, t.journal.version = 0, version{}
	return t.part.Truncate(0)
}

// save forces what has come to the disk and says so in the journal.
func (t *transfer) save() error {
	t.saved = time.Now()
	if err := t.part.Sync(); err != nil {
		return err
	}
	t.journal.Have = t.have
	return t.journal.write(t.req.Path)
}

// room refuses to go on where the disk would fill up.
func (t *transfer) room() error {
	need := max(t.total()-t.have, 0)
	folder := filepath.Dir(t.req.Path)
	free, err := t.m.o.Free(folder)
	if err != nil || free >= need+reserve { // a file system that does not say is asked by writing
		return nil
	}
	return &permanent{fmt.Errorf("%s needs %s more in %s, where %s are free: free some space, then resume", t.name, size(need+reserve), folder, size(free))}
}

// total is the size of the whole file; 0 unknown.
func (t *transfer) total() int64 {
	if t.req.Size > 0 {
		return t.req.Size
	}
	return t.journal.Total
}

func (t *transfer) writeError(err error) error {
	return fmt.Errorf("%s cannot be written in %s: %s", t.name, filepath.Dir(t.req.Path), disk.Reason(err))
}

// copy appends what the server sends. keep puts off the deadline by which more must come; hold lets it rest.
func (t *transfer) copy(ctx context.Context, body io.Reader, keep func(), hold func()) error {
	if _, err := t.part.Seek(t.have, io.SeekStart); err != nil {
		return &permanent{t.writeError(err)}
	}
	buf := make([]byte, chunk)
	if l := t.m.limiter.Limit(); l < 10*chunk {
		buf = buf[:max(int(l/10), 1<<10)] // small bites, so that a slow line flows evenly
	}
	for {
		keep()
		n, err := body.Read(buf)
		if n > 0 {
			hold()
			if err := t.take(buf[:n]); err != nil {
				return err
			}
			if err := t.m.limiter.WaitN(ctx, n); err != nil {
				return ctx.Err()
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take writes some bytes and, once in a while, makes sure of them.
func (t *transfer) take(data []byte) error {
	if total, n := t.total(), t.have+int64(len(data)); total > 0 && n > total {
		if err := t.restart(); err != nil {
			return &permanent{t.writeError(err)}
		}
		return t.misfit(n)
	}
	n, err := t.part.Write(data)
	t.have += int64(n)
	if err == nil && time.Since(t.saved) >= checkpoint {
		if err = t.save(); err == nil {
			if err := t.room(); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return &permanent{t.writeError(err)}
	}
	t.meter.add(int64(len(data)))
	t.m.update(t.it, func(s *Status) {
		s.Have, s.Total, s.Note = t.have, t.total(), ""
		s.Speed = t.meter.speed()
		if s.Left = 0; s.Speed > 0 && s.Total > 0 {
			s.Left = time.Duration(float64(s.Total-s.Have) / s.Speed * float64(time.Second))
		}
	})
	return nil
}

// misfit is what an answer of the wrong length means: perhaps a passing fault, at the last another file.
func (t *transfer) misfit(n int64) error {
	err := fmt.Errorf("%s has %d bytes where %d are expected", t.host, n, t.total())
	if t.wrong++; t.wrong >= mostWrong {
		return &permanent{fmt.Errorf("%s: %w, so it is another file", t.name, err)}
	}
	return err
}

// finish checks the whole file and gives it its name.
func (t *transfer) finish(ctx context.Context) error {
	if err := t.save(); err != nil {
		return &permanent{t.writeError(err)}
	}
	if err := t.verify(ctx); err != nil {
		return err
	}
	t.whole = true
	t.part.Close() // Windows renames no open file
	if err := disk.MoveNew(t.req.Path+partSuffix, t.req.Path); err != nil {
		if errors.Is(err, os.ErrExist) {
			return &permanent{fmt.Errorf("%s has come, but a file of that name appeared meanwhile in %s: move that one away, then resume", t.name, filepath.Dir(t.req.Path))}
		}
		return &permanent{t.writeError(err)}
	}
	os.Remove(t.req.Path + journalSuffix)
	disk.SyncFolder(filepath.Dir(t.req.Path))
	t.m.update(t.it, func(s *Status) { s.Have, s.Total = t.have, t.have })
	return nil
}

// verify reads the part file back. A file that came in pieces and is wrong is fetched once more, whole.
func (t *transfer) verify(ctx context.Context) error {
	if t.req.SHA256 == "" {
		return nil
	}
	t.m.mu.Lock()
	t.it.set(Checking, nil)
	t.m.mu.Unlock()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for at := int64(0); at < t.have; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := t.part.ReadAt(buf[:min(int64(len(buf)), t.have-at)], at)
		if n == 0 && err != nil {
			return &permanent{fmt.Errorf("%s cannot be read back: %s", t.name, disk.Reason(err))}
		}
		h.Write(buf[:n])
		at += int64(n)
		t.m.update(t.it, func(s *Status) { s.Have = at })
	}
	got := hex.EncodeToString(h.Sum(nil))
	if got == t.req.SHA256 {
		return nil
	}
	err := fmt.Errorf("its SHA-256 is %s and should be %s", got, t.req.SHA256)
	again := t.pieces
	if restartErr := t.restart(); restartErr != nil {
		return &permanent{t.writeError(restartErr)}
	}
	if t.lost++; !again {
		t.useless = true
		return &permanent{fmt.Errorf("%s from %s is not the file that is meant: %w; it was not kept", t.name, t.host, err)}
	}
	t.pieces = false
	t.m.mu.Lock()
	t.it.set(Running, nil)
	t.m.mu.Unlock()
	return err
}
