package modelstore

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"atelier/app/disk"
	"atelier/app/download"
)

//go:embed catalogue.json
var catalogueJSON []byte

// Licence is what a person agrees to before a download.
type Licence struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Says string `json:"says"` // its gist in a sentence, which is no part of it
}

// Offer is a well-known open model.
type Offer struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Family  string      `json:"family,omitempty"`
	Kind    Kind        `json:"kind,omitempty"` // "" for what is no model, such as a vocabulary
	Licence Licence     `json:"licence"`
	GoodFor string      `json:"good_for"`
	Files   []OfferFile `json:"files"`
}

// OfferFile is one file of an offer, in a repository of the catalogue's host or at an address of its own.
type OfferFile struct {
	Repo   string `json:"repo,omitempty"`
	File   string `json:"file,omitempty"` // within the repository
	URL    string `json:"url,omitempty"`  // in place of both
	Name   string `json:"name,omitempty"` // on this machine; "" keeps the name it has there
	Size   int64  `json:"size,omitempty"` // bytes; 0 where nobody has said it reliably
	SHA256 string `json:"sha256,omitempty"`
}

// Size is the bytes of all files; 0 where that of one is not known.
func (o *Offer) Size() int64 {
	sum := int64(0)
	for _, f := range o.Files {
		if f.Size == 0 {
			return 0
		}
		sum += f.Size
	}
	return sum
}

// Catalogue lists the well-known open models. Where a size or a hash is not known for certain, it is left out.
func Catalogue() []Offer {
	var list []Offer
	if err := json.Unmarshal(catalogueJSON, &list); err != nil {
		panic("modelstore: catalogue.json: " + err.Error()) // it is part of the program, and a test reads it
	}
	return list
}

// vocabularyID is the offer of CLIP's vocabulary.
const vocabularyID = "clip-vocabulary"

// FindOffer gives an offer by its id or name, in any case.
func FindOffer(name string) (Offer, error) {
	var ids []string
	for _, o := range Catalogue() {
		if strings.EqualFold(o.ID, name) || strings.EqualFold(o.Name, name) {
			return o, nil
		}
		ids = append(ids, o.ID)
	}
	return Offer{}, fmt.Errorf("the catalogue has no model %s; it has %s", name, strings.Join(ids, ", "))
}

// defaultSource is the host of the catalogue's repositories.
const defaultSource = "https://huggingface.co"

// sourceEnv replaces it, for mirrors.
const sourceEnv = "ATELIER_MODEL_SOURCE"

// Source is the address below which the catalogue's repositories are: as the environment (ATELIER_MODEL_SOURCE) or the person says, or
// the usual one.
func (s *Store) Source() string {
	if v := os.Getenv(sourceEnv); v != "" {
		return strings.TrimRight(v, "/")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chosen.Source != "" {
		return strings.TrimRight(s.chosen.Source, "/")
	}
	return defaultSource
}

// SetSource chooses a mirror, for all hosts of the catalogue; "" is the usual ones.
func (s *Store) SetSource(address string) error {
	if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%s is not the address of a mirror: it does not begin with https:// or http:// and a host", address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(func(c *choices) { c.Source = address })
}

// address is where a file is. A mirror has the files with an address of their own under that address's path.
func (f *OfferFile) address(source string) string {
	if f.URL == "" {
		return fmt.Sprintf("%s/%s/resolve/main/%s", source, f.Repo, f.File)
	}
	if u, err := url.Parse(f.URL); err == nil && source != defaultSource {
		return source + u.Path
	}
	return f.URL
}

// Accepted reports whether the person has agreed to an offer's licence.
func (s *Store) Accepted(o Offer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.chosen.Accepted, o.ID+" "+o.Licence.URL)
}

// Accept records that the person has agreed to an offer's licence.
func (s *Store) Accept(o Offer) error {
	if s.Accepted(o) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(func(c *choices) { c.Accepted = append(c.Accepted, o.ID+" "+o.Licence.URL) })
}

// LicenceError says that a licence has not been accepted yet.
type LicenceError struct{ Offer Offer }

func (e *LicenceError) Error() string {
	l := e.Offer.Licence
	return fmt.Sprintf("%s comes under the licence %s (%s): accept it first", e.Offer.Name, l.Name, l.URL)
}

// Requests are the downloads that an offer still needs, into the studio's own folder; a *LicenceError where its licence has not been
// accepted. Files that are there already are left out.
func (s *Store) Requests(o Offer) ([]download.Request, error) {
	if !s.Accepted(o) {
		return nil, &LicenceError{o}
	}
	folder := ownFolders[o.Kind]
	if o.Kind == "" {
		folder = o.ID
	}
	var list []download.Request
	for _, f := range o.Files {
		name := f.Name
		if name == "" {
			name = path.Base(f.File)
		}
		r := download.Request{URL: f.address(s.Source()), Path: filepath.Join(s.Own(), folder, name), Size: f.Size, SHA256: f.SHA256}
		if info, err := os.Stat(r.Path); err == nil {
			if f.Size != 0 && info.Size() != f.Size {
				return nil, fmt.Errorf("there is another %s in %s: move it away before %s is downloaded", name, filepath.Dir(r.Path), o.Name)
			}
			continue
		}
		list = append(list, r)
	}
	return list, nil
}

// arrivals is the folder of the studio's own that files come to whose kind shows only when they are there.
const arrivals = "arriving"

// Direct is the download of a model file at an address that the person gives. Its name is that at the end of the address, or saveAs;
// size and sha256 may be 0 and "". When it has come, Settle puts it in its place.
func (s *Store) Direct(address, saveAs string, size int64, sha256 string) (download.Request, error) {
	u, err := url.Parse(address)
	if err != nil {
		return download.Request{}, errors.New("this is not the address of a file")
	}
	name := saveAs
	if name == "" {
		name = path.Base(u.Path)
	}
	if filepath.Base(name) != name || !filepath.IsLocal(name) || !IsModelFile(name) {
		return download.Request{}, fmt.Errorf("%s is no name of a model file: it must end in one of %s", name, strings.Join(extensions, ", "))
	}
	return download.Request{URL: address, Path: filepath.Join(s.Own(), arrivals, name), Size: size, SHA256: sha256}, nil
}

// Settle moves a file that has come by Direct into the folder for its kind, and gives its path there. Files of the catalogue, which
// have come to their place, stay.
func (s *Store) Settle(file string) (string, error) {
	if filepath.Dir(file) != filepath.Join(s.Own(), arrivals) {
		return file, nil
	}
	c, err := candidateAt(file)
	if err != nil {
		return file, err
	}
	to := filepath.Join(s.Own(), ownFolders[s.identify(c).Kind], filepath.Base(file))
	if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = disk.MoveNew(file, to)
	}
	if err != nil {
		return file, fmt.Errorf("%s has come, but stays in %s: %s", filepath.Base(file), filepath.Dir(file), disk.Reason(err))
	}
	os.Remove(filepath.Dir(file)) // where nothing else is on its way
	return to, nil
}

// Downloads is a manager with this person's tokens and limit. notify may be nil.
func (s *Store) Downloads(userAgent string, notify func(download.Status)) *download.Manager {
	return download.New(download.Options{Limit: s.Limit(), Token: s.Token, UserAgent: userAgent, Notify: notify})
}

// Unfinished lists the downloads into the studio's own folder that were begun and not finished.
func (s *Store) Unfinished() ([]download.Request, error) { return download.Pending(s.Own()) }
