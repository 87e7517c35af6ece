package modelstore

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Program is whose layout a folder has.
type Program string

// The programs whose folders are known. Of a plain folder, all that is in it is looked through.
const (
	Own         Program = "atelier"
	A1111       Program = "a1111" // also Forge and its relatives
	ComfyUI     Program = "comfyui"
	LMStudio    Program = "lmstudio"
	HuggingFace Program = "huggingface"
	Diffusers   Program = "diffusers"
	Plain       Program = "folder"
)

// place is a folder to look through, and what kind of models its program keeps there; "" leaves that to the files.
type place struct {
	dir    string
	kind   Kind
	source string // org/name@revision, where the layout tells
}

// sub is a place below a program's folder.
type sub struct {
	name string
	kind Kind
}

var a1111Subs = []sub{
	{"models/Stable-diffusion", Checkpoint}, {"models/VAE", VAE}, {"models/VAE-approx", TAESD}, {"models/Lora", LoRA}, {"models/LyCORIS", LoRA},
	{"models/ControlNet", ControlNet}, {"models/ESRGAN", Upscaler}, {"models/RealESRGAN", Upscaler}, {"models/text_encoder", TextEncoder},
	{"models/diffusers", ""}, {"embeddings", Embedding}, {"models/embeddings", Embedding}, {"extensions/sd-webui-controlnet/models", ControlNet},
}

// comfyKinds are the names that ComfyUI gives to folders and to lines of its extra_model_paths.yaml.
var comfyKinds = []sub{
	{"checkpoints", Checkpoint}, {"diffusion_models", UNet}, {"unet", UNet}, {"text_encoders", TextEncoder}, {"clip", TextEncoder},
	{"vae", VAE}, {"vae_approx", TAESD}, {"loras", LoRA}, {"controlnet", ControlNet}, {"upscale_models", Upscaler}, {"embeddings", Embedding},
	{"diffusers", ""}, {"llm", LLM},
}

// vocabularies are the folders below a program's own in which it, or a library that it brings, keeps CLIP's vocabulary.
var vocabularies = []string{
	"comfy/sd1_tokenizer", "backend/huggingface/*/*/tokenizer", // ComfyUI's and Forge's own
	// clip and open_clip, which A1111 and others install: on Linux, on Windows, and beside a portable ComfyUI.
	"venv/lib/python*/site-packages/*clip", ".venv/lib/python*/site-packages/*clip", "*/Lib/site-packages/*clip", "../python_embeded/Lib/site-packages/*clip",
}

// vocabularyFolders lists those of them that are there, for a folder of any program or the models folder in it.
func vocabularyFolders(path string) (list []string) {
	roots := []string{path}
	if filepath.Base(path) == "models" {
		roots = append(roots, filepath.Dir(path))
	}
	for _, root := range roots {
		for _, pattern := range vocabularies {
			found, _ := filepath.Glob(filepath.Join(escape(root), filepath.FromSlash(pattern)))
			for _, dir := range found {
				if holdsVocabulary(dirNames(dir)) {
					list = append(list, dir)
				}
			}
		}
	}
	return list
}

// packedVocabulary is the file in which OpenAI gave the vocabulary away.
const packedVocabulary = "bpe_simple_vocab_16e6.txt.gz"

func holdsVocabulary(names []string) bool {
	return slices.Contains(names, "vocab.json") && slices.Contains(names, "merges.txt") || slices.Contains(names, packedVocabulary)
}

// ownFolders are the folders of the studio's own folder, which are named as in ComfyUI.
var ownFolders = map[Kind]string{
	Checkpoint: "checkpoints", Generator: "checkpoints", UNet: "diffusion_models", TextEncoder: "text_encoders", VAE: "vae", TAESD: "vae_approx", LoRA: "loras",
	ControlNet: "controlnet", Upscaler: "upscale_models", Embedding: "embeddings", LLM: "llm", Unknown: "other",
}

// extraPaths is the file in which ComfyUI's users name folders of other programs.
const extraPaths = "extra_model_paths.yaml"

// Detect tells which program's layout a folder, or an extra_model_paths.yaml, has.
func Detect(path string) Program {
	if isExtraPaths(path) {
		return ComfyUI
	}
	names := dirNames(path)
	has := func(all ...string) bool {
		return slices.ContainsFunc(all, func(n string) bool { return slices.Contains(names, n) })
	}
	switch {
	case has("model_index.json"):
		return Diffusers
	case slices.ContainsFunc(names, isRepo), isRepo(filepath.Base(path)) && has("snapshots"):
		return HuggingFace
	case has("hub") && slices.ContainsFunc(dirNames(filepath.Join(path, "hub")), isRepo):
		return HuggingFace
	case has("Stable-diffusion"), slices.Contains(dirNames(filepath.Join(path, "models")), "Stable-diffusion"):
		return A1111
	case has(extraPaths), comfyLike(names), comfyLike(dirNames(filepath.Join(path, "models"))):
		return ComfyUI
	case strings.Contains(strings.ToLower(path), "lmstudio") || strings.Contains(strings.ToLower(path), "lm-studio"):
		return LMStudio
	case published(path), published(filepath.Join(path, "models")):
		return LMStudio
	}
	return Plain
}

// comfyLike tells a models folder of ComfyUI by two of its folders.
func comfyLike(names []string) bool {
	n := 0
	for _, k := range comfyKinds {
		if k.name != "diffusers" && k.name != "llm" && slices.Contains(names, k.name) {
			n++
		}
	}
	return n >= 2
}

// published reports whether a folder is sorted as publisher/model/file.gguf.
func published(path string) bool {
	found, err := filepath.Glob(filepath.Join(escape(path), "*", "*", "*.gguf"))
	return err == nil && len(found) > 0
}

// escape keeps a path's own characters from acting as a pattern.
func escape(path string) string {
	if filepath.Separator == '\\' {
		return path // Windows has no escapes, and its names hold no * and ?
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func isRepo(name string) bool { return strings.HasPrefix(name, "models--") }

func isExtraPaths(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	info, err := os.Stat(path)
	return (ext == ".yaml" || ext == ".yml") && err == nil && info.Mode().IsRegular()
}

func dirNames(path string) []string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// places lists where to look in a folder of a program; tell is called with what is in the way.
func places(program Program, path string, tell func(path, problem string)) []place {
	switch program {
	case A1111:
		return existing(withSubs(rootOf(path, "Stable-diffusion"), a1111Subs))
	case ComfyUI:
		return comfyPlaces(path, tell)
	case LMStudio:
		if models := filepath.Join(path, "models"); dirNames(models) != nil {
			path = models // the program's own files lie beside it
		}
		return []place{{dir: path}}
	case HuggingFace:
		return hubPlaces(path, tell)
	}
	return []place{{dir: path}}
}

// rootOf is the folder above models where path is that models folder itself, which a folder in it tells.
func rootOf(path, inside string) string {
	if slices.Contains(dirNames(path), inside) {
		return filepath.Join(path, "..")
	}
	return path
}

func withSubs(root string, subs []sub) []place {
	list := make([]place, len(subs))
	for i, s := range subs {
		list[i] = place{dir: filepath.Join(root, filepath.FromSlash(s.name)), kind: s.kind}
	}
	return list
}

// existing leaves out folders that a program did not make.
func existing(list []place) []place {
	return slices.DeleteFunc(list, func(p place) bool {
		_, err := os.Lstat(p.dir)
		return err != nil
	})
}

func comfyPlaces(path string, tell func(path, problem string)) []place {
	if isExtraPaths(path) {
		return extraPlaces(path, tell)
	}
	models := path
	if !comfyLike(dirNames(path)) {
		models = filepath.Join(path, "models")
	}
	list := existing(withSubs(models, comfyKinds))
	if file := filepath.Join(path, extraPaths); isExtraPaths(file) {
		list = append(list, extraPlaces(file, tell)...)
	}
	return list
}

// hubPlaces lists the snapshots in a cache of huggingface_hub, a folder for each repository: those that a ref names, or all where none
// does. Their files are links into the repository's blobs.
func hubPlaces(path string, tell func(path, problem string)) []place {
	if isRepo(filepath.Base(path)) {
		return snapshots(path, tell)
	}
	if hub := filepath.Join(path, "hub"); slices.ContainsFunc(dirNames(hub), isRepo) {
		path = hub
	}
	var list []place
	for _, name := range dirNames(path) {
		if isRepo(name) {
			list = append(list, snapshots(filepath.Join(path, name), tell)...)
		}
	}
	return list
}

func snapshots(repo string, tell func(path, problem string)) []place {
	name := strings.ReplaceAll(strings.TrimPrefix(filepath.Base(repo), "models--"), "--", "/")
	revs := map[string]string{} // revision → ref
	filepath.WalkDir(filepath.Join(repo, "refs"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		const most = 256 // a ref is a hash
		if info, err := d.Info(); err == nil && info.Size() < most {
			data, _ := os.ReadFile(path)
			ref, _ := filepath.Rel(filepath.Join(repo, "refs"), path)
			if rev := strings.TrimSpace(string(data)); filepath.IsLocal(rev) {
				revs[rev] = filepath.ToSlash(ref)
			}
		}
		return nil
	})
	all := dirNames(filepath.Join(repo, "snapshots"))
	var list []place
	for _, rev := range all {
		ref, named := revs[rev]
		if !named {
			if slices.ContainsFunc(all, func(r string) bool { return revs[r] != "" }) {
				continue
			}
			ref = rev[:min(len(rev), 8)]
		}
		list = append(list, place{dir: filepath.Join(repo, "snapshots", rev), source: name + "@" + ref})
	}
	if len(all) == 0 {
		tell(repo, "it holds no snapshot, so the download was not finished")
	}
	return list
}
