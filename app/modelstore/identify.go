package modelstore

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/cvae"
	"atelier/models/flow"
	"atelier/models/gan"
	"atelier/models/nn"
	"atelier/models/pipeline"
)

// notUsed says plainly of a whole kind that it is only listed.
const notUsed = "listed only: language models are not used by this version"

// weightsAlone is the basis of what a part needs, whose activations belong to the model that uses it.
const weightsAlone = "the size of its weights"

// identify finds out what a candidate is. It reads headers, not weights.
func (s *Store) identify(c candidate) Entry {
	e := Entry{Path: c.path, Size: c.size, Program: c.link.Program, Folder: c.link.Path, Source: c.source(), Modified: stamp(c.info.ModTime())}
	e.Name = nameOf(c)
	switch {
	case c.folder:
		s.identifyFolder(&e)
	default:
		s.identifyFile(&e, c)
	}
	if e.Kind == Unknown && c.place.kind != "" {
		e.Kind = c.place.kind
	}
	e.sidecars(c)
	if repo, _, _ := strings.Cut(c.source(), "@"); e.Title == "" && repo != e.Name {
		e.Title = repo // files of repositories often go by names that say nothing
	}
	return e
}

// Look says of any file or folder what it is, whether or not it is in a folder that is looked through.
func (s *Store) Look(path string) (Entry, error) {
	c, err := candidateAt(path)
	if err != nil {
		return Entry{}, err
	}
	return s.identify(c), nil
}

// source is where a model came from, as far as its folder tells: the repository, or LM Studio's publisher and model.
func (c *candidate) source() string {
	if c.link.Program != LMStudio {
		return c.place.source
	}
	rel, err := filepath.Rel(c.place.dir, filepath.Dir(c.path))
	if err != nil || strings.Count(filepath.ToSlash(rel), "/") != 1 {
		return ""
	}
	return filepath.ToSlash(rel)
}

// nameOf is the name by which people know a model: of a file, without its extension; of a repository's folder, org/name.
func nameOf(c candidate) string {
	base := filepath.Base(c.path)
	repo, _, _ := strings.Cut(c.place.source, "@")
	switch {
	case c.folder && repo != "" && c.path == c.place.dir:
		return repo
	case c.folder:
		return base
	}
	if m := shardName.FindStringSubmatch(base); m != nil {
		return m[1]
	}
	if stem, _, isIndex := strings.Cut(base, ".safetensors.index."); isIndex {
		return stem
	}
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func (s *Store) identifyFile(e *Entry, c candidate) {
	e.Format = formatOf(c.path)
	if e.Format == "gguf" && e.identifyGGUF() {
		return
	}
	if c.shards > 0 {
		e.Kind, e.Problem = Unknown, fmt.Sprintf("it is in %d parts, and the index that names them (%s.safetensors.index.json) is missing; download it into the same folder", c.shards, e.Name)
		if c.place.kind == LLM || c.link.Program == LMStudio {
			e.Kind, e.Problem, e.Note = LLM, "", notUsed
		}
		return
	}
	t, err := checkpoint.Open(c.path)
	if err != nil {
		e.Kind, e.Problem = Unknown, sentence(err)
		return
	}
	defer t.Close()
	e.measure(t)
	e.metadata(t.Metadata())
	n := examine(t, e.Name)
	e.Kind, e.Family, e.Variants = n.kind, n.family, n.variants
	switch {
	case n.kind == LLM:
		e.Note = notUsed
	case n.foreign != "":
		e.Problem = "it is " + n.foreign + ", which this version does not run"
	case n.kind == LoRA:
		e.Memory = Memory{Bytes: e.Size, Basis: weightsAlone}
		if e.Family == "FLUX.1" || e.Family == "Stable Diffusion 3" {
			e.Problem = "it changes a " + e.Family + " network, which this version does not run"
		}
	case n.kind == Embedding:
		_, err := checkpoint.ReadEmbeddings(c.path)
		e.Problem = sentence(err)
		e.Memory = Memory{Bytes: e.Size, Basis: weightsAlone}
	default:
		s.inspect(e)
	}
}

// identifyGGUF takes files of language models; others are for the readers of weights.
func (e *Entry) identifyGGUF() bool {
	head, err := readGGUF(e.Path)
	if err != nil {
		return false // as the reader of weights will say better
	}
	e.Params, e.DType = head.params, head.dtype
	e.Card.fill(Card{
		Title: head.values["general.name"], Author: head.values["general.author"], Licence: licenceName(head.values["general.license"]),
		LicenceURL: head.values["general.license.link"], Description: head.values["general.description"],
	})
	if arch := head.values["general.architecture"]; arch == "t5" || arch == "t5encoder" {
		e.Kind, e.Family, e.Problem = TextEncoder, "T5", "it is a T5 text encoder, which this version does not run"
		return true
	}
	if !head.language() {
		return false
	}
	e.Kind, e.Family, e.Note = LLM, head.values["general.architecture"], notUsed
	e.Memory = Memory{Bytes: e.Size, Basis: weightsAlone}
	return true
}

// inspect opens a model as a pipeline would and keeps what is wrong with it and what it needs.
func (s *Store) inspect(e *Entry) {
	m, err := catalog.Open(e.Path, catalog.Options{})
	if err != nil {
		e.Problem = sentence(err)
		return
	}
	defer m.Close()
	if err := pipeline.Check(m); err != nil {
		e.Problem = sentence(misfit(err, filepath.Base(e.Path)))
	}
	if len(m.Warnings) > 0 {
		e.Note = strings.Join(m.Warnings, "; ")
	}
	e.Memory = Memory{Bytes: e.Size, Basis: weightsAlone}
	if e.Problem != "" || !m.Generator.Here() && (!m.TextEncoder.Here() || !m.UNet.Here() || !m.VAE.Here()) {
		return
	}
	if all, least, err := s.o.Predict(m); err == nil {
		e.Memory = Memory{Bytes: all, Least: least, Basis: "for one picture of the model's own size"}
		return
	}
	const activations = 2_000_000_000
	e.Memory = Memory{Bytes: e.Size + activations, Basis: "an estimate: its weights and 2 GB for the picture"}
}

// misfit joins what is wrong with each network of a model, so that its tensors are listed once, those of a folder with the folder of
// their network, within that of the model; other errors stay as they are.
func misfit(err error, model string) error {
	all := &nn.Misfit{Label: "it"}
	var take func(err error) bool
	take = func(err error) bool {
		if m, ok := err.(*nn.Misfit); ok {
			named := func(list []string) (out []string) {
				for _, n := range list {
					out = append(out, path.Join(strings.TrimPrefix(path.Dir(m.Label)+"/", model+"/"), n))
				}
				return out
			}
			all.Missing, all.Misshapen, all.Unused = append(all.Missing, named(m.Missing)...), append(all.Misshapen, named(m.Misshapen)...), append(all.Unused, named(m.Unused)...)
			return true
		}
		several, ok := err.(interface{ Unwrap() []error })
		return ok && !slices.ContainsFunc(several.Unwrap(), func(one error) bool { return !take(one) })
	}
	if take(err) {
		return all
	}
	return err
}

func (s *Store) identifyFolder(e *Entry) {
	e.Format = string(Diffusers)
	class := configClass(filepath.Join(e.Path, "config.json"))
	if isLanguage(class) {
		e.Kind, e.Family, e.Note = LLM, strings.TrimSuffix(class, "ForCausalLM"), notUsed
		return
	}
	m, err := catalog.Open(e.Path, catalog.Options{})
	if err != nil {
		e.Kind, e.Problem = folderKind(e.Path, class), sentence(err)
		return
	}
	defer m.Close()
	var weights []checkpoint.Tensors
	for _, p := range []*catalog.Part{&m.UNet, &m.VAE, &m.TextEncoder, &m.TextEncoder2, &m.ControlNet, &m.TinyDecoder, &m.Generator} {
		if p.Here() {
			weights = append(weights, p.Weights)
		}
	}
	e.measure(weights...)
	e.Title = m.Name
	if e.Title == filepath.Base(e.Path) {
		e.Title = ""
	}
	e.ofModel(m)
	s.inspect(e)
}

// ofModel is the kind and family of an open folder.
func (e *Entry) ofModel(m *catalog.Model) {
	width := func(p catalog.Part) string {
		for _, n := range p.Weights.Names() {
			if strings.HasSuffix(n, "attn2.to_k.weight") {
				x, _ := p.Weights.Get(n)
				if len(x.Shape) >= 2 {
					return contextFamily(x.Shape[1])
				}
			}
		}
		return ""
	}
	switch {
	case m.Generator.Here():
		e.Kind, e.Family = Generator, map[string]string{gan.StyleClass: "GAN", cvae.Class: "Variational autoencoder", flow.Class: "Normalising flow"}[m.Generator.Class]
	case m.UNet.Here() && m.TextEncoder.Here():
		e.Kind, e.Family = Checkpoint, width(m.UNet)
	case m.UNet.Here():
		e.Kind, e.Family = UNet, width(m.UNet)
	case m.ControlNet.Here():
		e.Kind, e.Family = ControlNet, width(m.ControlNet)
	case m.TinyDecoder.Here() || m.TinyEncoder.Here():
		e.Kind, e.Family = TAESD, tinyFamily(e.Name)
	case m.VAE.Here():
		e.Kind, e.Family = VAE, SD1
		if strings.Contains(strings.ToLower(e.Name), "xl") {
			e.Family = SDXL
		}
	case m.Upscaler != nil:
		e.Kind = Upscaler
	default:
		e.Kind, e.Family = TextEncoder, "CLIP"
	}
	if e.Family == "" && m.TextEncoder2.Here() {
		e.Family = SDXL
	}
	if m.UNet.Here() {
		if in, _ := m.UNet.Weights.Get("conv_in.weight"); len(in.Shape) == 4 && in.Shape[1] == 9 {
			e.Variants = append(e.Variants, "inpainting")
		}
		if strings.Contains(string(m.SchedulerConfig), `"v_prediction"`) {
			e.Variants = append(e.Variants, "v-prediction")
		}
		if e.Family == "" {
			e.Family = SD1
		}
	}
}

func isLanguage(class string) bool {
	return strings.HasSuffix(class, "ForCausalLM") || strings.HasSuffix(class, "LMHeadModel") || strings.HasSuffix(class, "ForConditionalGeneration")
}

// folderKind guesses the kind of a folder that does not open.
func folderKind(path, class string) Kind {
	switch {
	case class == "":
		return Checkpoint
	case strings.Contains(class, "ControlNet"):
		return ControlNet
	case strings.Contains(class, "Tiny"):
		return TAESD
	case strings.Contains(class, "Autoencoder"):
		return VAE
	case strings.Contains(class, "UNet") || strings.Contains(class, "Transformer2D"):
		return UNet
	case strings.Contains(class, "TextModel") || strings.Contains(class, "EncoderModel"):
		return TextEncoder
	}
	return Unknown
}

// measure counts numbers and their types.
func (e *Entry) measure(sets ...checkpoint.Tensors) {
	count := map[checkpoint.DType]int64{}
	e.Params = 0
	for _, t := range sets {
		for _, name := range t.Names() {
			x, _ := t.Get(name)
			n := int64(x.Len())
			e.Params += n
			count[x.DType] += n
		}
	}
	best := int64(-1)
	for _, d := range slices.Sorted(maps.Keys(count)) {
		if count[d] > best {
			best, e.DType = count[d], string(d)
		}
	}
}

// formatOf goes by the file's first bytes, as its reader does.
func formatOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var head [9]byte
	n, _ := f.Read(head[:])
	switch h := string(head[:n]); {
	case n == 9 && head[8] == '{':
		return "safetensors"
	case strings.HasPrefix(h, "GGUF"):
		return "gguf"
	case strings.HasPrefix(h, "PK"), strings.HasPrefix(h, "\x80"):
		return "pickle"
	case strings.HasSuffix(path, ".json"), strings.HasSuffix(path, ".safetensors"), strings.HasSuffix(path, ".sft"):
		return "safetensors"
	}
	return strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
}

// sentence is an error as the list shows it: one line, without the file's name, which stands beside it.
func sentence(err error) string {
	if err == nil {
		return ""
	}
	var format *checkpoint.FormatError
	if errors.As(err, &format) {
		return format.Problem + "; " + format.Remedy
	}
	if errors.Is(err, fs.ErrPermission) {
		return "it may not be read; check its permissions"
	}
	return strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "checkpoint: ")
}
