package modelstore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atelier/app/disk"

	"go.yaml.in/yaml/v4"
)

// extraPlaces reads an extra_model_paths.yaml as ComfyUI does: sections of any name, each with kinds of models and the folders that
// hold them, several on lines of their own. Folders are relative to the section's base_path, and that to the file.
func extraPlaces(file string, tell func(path, problem string)) []place {
	const most = 1 << 20
	info, err := os.Stat(file)
	if err == nil && info.Size() > most {
		tell(file, fmt.Sprintf("it is larger than %d MB, which is no list of folders", most>>20))
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		tell(file, "it cannot be read: "+disk.Reason(err))
		return nil
	}
	var sections yaml.Node
	if err := yaml.Unmarshal(data, &sections); err != nil {
		tell(file, "it is not YAML: "+strings.Join(strings.Fields(err.Error()), " "))
		return nil
	}
	var list []place
	if len(sections.Content) == 0 {
		return nil
	}
	root := sections.Content[0]
	if root.Kind != yaml.MappingNode {
		tell(file, "it has no sections with folders")
		return nil
	}
	base := filepath.Dir(file)
	for i := 0; i+1 < len(root.Content); i += 2 {
		s := section{file: file, dir: base, name: root.Content[i].Value, tell: tell}
		list = append(list, s.places(root.Content[i+1])...)
	}
	return list
}

// section is one program's part of the file.
type section struct {
	file, dir, name string
	tell            func(path, problem string)
}

func (s *section) places(node *yaml.Node) []place {
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		if node.Tag != "!!null" {
			s.tell(s.file, fmt.Sprintf("its section %q has no folders", s.name))
		}
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == "base_path" {
			s.dir = s.absolute(resolve(node.Content[i+1]).Value)
		}
	}
	var list []place
	for i := 0; i+1 < len(node.Content); i += 2 {
		at := slices.IndexFunc(comfyKinds, func(k sub) bool { return k.name == node.Content[i].Value })
		if at < 0 {
			continue // base_path, is_default, and kinds that this program has no use for
		}
		for _, dir := range lines(resolve(node.Content[i+1])) {
			dir = s.absolute(dir)
			if _, err := os.Stat(dir); err != nil {
				s.tell(dir, fmt.Sprintf("%s names it, and it cannot be read: %s", filepath.Base(s.file), disk.Reason(err)))
				continue
			}
			list = append(list, place{dir: dir, kind: comfyKinds[at].kind})
		}
	}
	return list
}

// absolute expands ~ and $NAME and puts a relative path below the section's folder.
func (s *section) absolute(path string) string {
	path = strings.TrimSpace(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			path = home + rest
		}
	}
	if path = os.ExpandEnv(path); !filepath.IsAbs(path) {
		path = filepath.Join(s.dir, path)
	}
	return filepath.Clean(path)
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// lines gives the folders of a value: the lines of a text, or the elements of a list.
func lines(n *yaml.Node) []string {
	var out []string
	switch n.Kind {
	case yaml.ScalarNode:
		for l := range strings.Lines(n.Value) {
			if l = strings.TrimSpace(l); l != "" && n.Tag != "!!null" {
				out = append(out, l)
			}
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c = resolve(c); c.Kind == yaml.ScalarNode && c.Value != "" {
				out = append(out, c.Value)
			}
		}
	}
	return out
}
