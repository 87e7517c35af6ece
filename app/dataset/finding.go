package dataset

import "fmt"

// Kind is the sort of thing that is wrong with a file.
type Kind string

// The kinds of findings.
const (
	Broken        Kind = "broken"             // cannot be decoded
	Truncated     Kind = "truncated"          // ends too early
	TooLarge      Kind = "too large"          // refused by its header or size, before decoding
	ZipBomb       Kind = "zip bomb"           // unpacks to far more than it should
	UnsafePath    Kind = "unsafe path"        // a name or link that leads out of the set
	Unsupported   Kind = "unsupported"        // a kind of file that is not read
	Duplicate     Kind = "duplicate"          // the same bytes or pixels as another
	NearDuplicate Kind = "near duplicate"     // looks like another
	TooSmall      Kind = "too small"          // would be enlarged for training
	OddAspect     Kind = "odd aspect ratio"   // much longer than wide, or the reverse
	Empty         Kind = "empty picture"      // one flat colour, or wholly transparent
	NoCaption     Kind = "no caption"         // or one that says next to nothing
	Orphan        Kind = "caption alone"      // a caption whose picture is missing
	BadMetadata   Kind = "unreadable caption" // a caption or metadata file, or a line of one, that cannot be read
)

// Finding is one thing that is wrong with a set: where, what, and what to do about it.
type Finding struct {
	File    string   `json:"file"` // empty where it concerns the whole set
	Kind    Kind     `json:"kind"`
	What    string   `json:"what"`             // a clause
	Do      string   `json:"do"`               // advice, a clause
	Skipped bool     `json:"skipped"`          // the file is left out of training
	Others  []string `json:"others,omitempty"` // files that it duplicates
}

// Error makes a finding the reason why a picture cannot be read.
func (f *Finding) Error() string {
	if f.File == "" {
		return fmt.Sprintf("%s; %s", f.What, f.Do)
	}
	return fmt.Sprintf("%s: %s; %s", f.File, f.What, f.Do)
}
