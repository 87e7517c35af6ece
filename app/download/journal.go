package download

import (
	"encoding/json"
	"os"
	"strings"

	"atelier/app/disk"
)

const (
	partSuffix    = ".part"
	journalSuffix = ".part.json"
)

// journal is what must be known of a part file to go on with it.
type journal struct {
	URL    string `json:"url"`
	Size   int64  `json:"size,omitempty"`   // as asked for
	SHA256 string `json:"sha256,omitempty"` // as asked for
	version
	Have int64 `json:"have"` // bytes that are safely on the disk
}

// version is how a server tells one state of a file from another.
type version struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"last_modified,omitempty"`
	Total    int64  `json:"total,omitempty"` // bytes; 0 where it does not say
}

// differs reports whether two answers speak of different files. Where both have entity tags, the tags decide.
func (v version) differs(w version) bool {
	if v.Total != 0 && w.Total != 0 && v.Total != w.Total {
		return true
	}
	if v.ETag != "" && w.ETag != "" {
		return strings.TrimPrefix(v.ETag, "W/") != strings.TrimPrefix(w.ETag, "W/")
	}
	return v.Modified != "" && w.Modified != "" && v.Modified != w.Modified
}

// condition is what If-Range may hold (RFC 9110, 13.1.5): a strong entity tag, or a date.
func (v version) condition() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.Modified
}

func readJournal(path string) (journal, error) {
	var j journal
	data, err := os.ReadFile(path + journalSuffix)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	return j, err
}

func (j journal) write(path string) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return disk.Replace(path+journalSuffix, data, 0o600) // an address may hold what is nobody else's business
}

// removeParts removes what a download leaves while it is under way, unless another program goes on with it.
func removeParts(path string) {
	part, err := os.OpenFile(path+partSuffix, os.O_RDWR, 0)
	if err == nil {
		ours := disk.Lock(part)
		part.Close() // Windows removes no open file
		if !ours {
			return
		}
	}
	os.Remove(path + partSuffix)
	os.Remove(path + journalSuffix)
}
