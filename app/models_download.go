package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"atelier/app/download"
	"atelier/app/modelstore"
	"atelier/compute"
)

type modelsDownloadCmd struct {
	Name   []string `arg:"" optional:"" help:"Names from models catalogue, or the address of a model file; none goes on with what was interrupted. ATELIER_MODEL_SOURCE names a mirror of the catalogue's hosts."`
	SHA256 string   `name:"sha256" placeholder:"HEX" help:"For an address: what the file is checked by."`
	Size   int64    `placeholder:"BYTES" help:"For an address: how long the file is."`
	SaveAs string   `placeholder:"FILE" help:"For an address: the file's name, where the address does not end in one."`
	Accept bool     `name:"accept-licence" aliases:"accept-license" help:"Accept the licences, which models catalogue shows."`
	Limit  int64    `placeholder:"KB" help:"Most kilobytes a second, 0 for what was chosen before; −1 for no limit." default:"0"`
	JSON   bool     `name:"json" help:"Print one JSON array."`
}

// Run downloads, several files at a time.
func (c *modelsDownloadCmd) Run(ctx context.Context) error {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return err
	}
	requests, err := c.requests(s)
	if err != nil {
		return err
	}
	bar := newProgressBar(c.JSON)
	defer bar.done()
	var m *download.Manager
	m = s.Downloads("Atelier/"+version, func(st download.Status) { bar.write(downloadLine(st, m)) })
	defer m.Close()
	if c.Limit != 0 {
		m.SetLimit(max(c.Limit, 0) * 1000)
	}
	var ids []int
	for _, r := range requests {
		id, err := m.Add(r)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	var list []fetched
	var failed error
	for _, id := range ids {
		st, err := m.Wait(ctx, id)
		if ctx.Err() != nil {
			return fmt.Errorf("%w; what has come is kept: go on with models download", ctx.Err())
		}
		if err == nil {
			st.Path, err = s.Settle(st.Path)
		}
		failed = errors.Join(failed, err)
		list = append(list, fetched{st.Path, st.Have, st.SHA256, st.State, message(err)})
	}
	bar.done()
	if err := noteHashes(ctx, s, list); err != nil {
		return err
	}
	if c.JSON {
		return errors.Join(printJSON(append([]fetched{}, list...)), failed)
	}
	for _, f := range list {
		if f.Error == "" {
			checked := "its contents were not checked, for there is no SHA-256 to compare with"
			if f.SHA256 != "" {
				checked = "SHA-256 as expected"
			}
			fmt.Printf("%s: %s, %s\n", f.Path, compute.FormatBytes(f.Bytes), checked)
		}
	}
	if len(list) == 0 {
		fmt.Println("There is nothing to download: all files are there.")
	}
	return failed
}

// noteHashes puts what has come into the list of models, with the hashes that it was checked by.
func noteHashes(ctx context.Context, s *modelstore.Store, list []fetched) error {
	if len(list) == 0 {
		return nil
	}
	if _, _, err := s.Scan(ctx, nil); err != nil {
		return err
	}
	for _, f := range list {
		if f.State == download.Done && f.SHA256 != "" {
			if err := s.Checked(f.Path, f.SHA256); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetched is what download --json prints of a file.
type fetched struct {
	Path   string         `json:"path"`
	Bytes  int64          `json:"bytes"`
	SHA256 string         `json:"sha256,omitempty"`
	State  download.State `json:"state"`
	Error  string         `json:"error,omitempty"`
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// requests asks for consent and gives what is to be fetched.
func (c *modelsDownloadCmd) requests(s *modelstore.Store) ([]download.Request, error) {
	if len(c.Name) == 0 {
		return s.Unfinished()
	}
	var list []download.Request
	for _, name := range c.Name {
		if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
			r, err := s.Direct(name, c.SaveAs, c.Size, c.SHA256)
			if err != nil {
				return nil, err
			}
			list = append(list, r)
			continue
		}
		offer, err := modelstore.FindOffer(name)
		if err != nil {
			return nil, err
		}
		if !s.Accepted(offer) {
			if !c.Accept && !askLicence(offer) {
				l := offer.Licence
				return nil, fmt.Errorf("%s comes under the licence %s (%s): read it, then give --accept-licence", offer.Name, l.Name, l.URL)
			}
			if err := s.Accept(offer); err != nil {
				return nil, err
			}
		}
		requests, err := s.Requests(offer)
		if err != nil {
			return nil, err
		}
		list = append(list, requests...)
	}
	return list, nil
}

// askLicence shows a licence and asks a person at a terminal; anywhere else nobody can agree.
func askLicence(o modelstore.Offer) bool {
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	fmt.Fprintf(os.Stderr, "%s comes under the licence %s:\n    %s\n    %s\nDo you accept it? [y/N] ", o.Name, o.Licence.Name, o.Licence.URL, o.Licence.Says)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// downloadLine is the file of a status with its progress, and how many others are under way.
func downloadLine(st download.Status, m *download.Manager) string {
	name := filepath.Base(st.Path)
	if st.Note != "" {
		return fmt.Sprintf("%s: %s", name, st.Note)
	}
	line := byteLine(string(st.State), st.Have, st.Total, st.Speed, st.Left) + "  " + name
	if m == nil {
		return line
	}
	others := 0
	for _, o := range m.List() {
		if o.ID != st.ID && !o.State.Rests() {
			others++
		}
	}
	if others > 0 {
		line += fmt.Sprintf(" and %d more", others)
	}
	return line
}
