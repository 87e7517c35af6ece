package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"atelier/app/modelstore"
	"atelier/compute"
)

// modelsCmd is the model manager.
type modelsCmd struct {
	List      modelsListCmd      `cmd:"" help:"List the models on this machine."`
	Search    modelsSearchCmd    `cmd:"" help:"List the models in which all words occur: in name, title, family, tags, trigger words, licence or path."`
	Info      modelsInfoCmd      `cmd:"" help:"Say all that is known about a model."`
	Scan      modelsScanCmd      `cmd:"" help:"Look through all folders and say what was found and what was in the way."`
	Link      modelsLinkCmd      `cmd:"" help:"Use the models in a folder of another program, or of an extra_model_paths.yaml, where they are."`
	Unlink    modelsUnlinkCmd    `cmd:"" help:"Leave a folder out."`
	Folder    modelsFolderCmd    `cmd:"" help:"Show the folders, or choose the one that imports and downloads go to."`
	Import    modelsImportCmd    `cmd:"" help:"Bring a model file, or a folder with one, into the studio's own folder."`
	Catalogue modelsCatalogueCmd `cmd:"" aliases:"catalog" help:"List well-known open models."`
	Download  modelsDownloadCmd  `cmd:"" help:"Download a model of the catalogue, or go on with downloads that were interrupted."`
	Hash      modelsHashCmd      `cmd:"" help:"Compute the hashes of a model."`
	Remove    modelsRemoveCmd    `cmd:"" help:"Delete a model from the studio's own folder."`
	Token     modelsTokenCmd     `cmd:"" help:"Keep what signs you in at a host, read from standard input; nothing forgets it."`
}

// scanned opens the store and looks through the folders, with what is in the way on standard error.
func scanned(ctx context.Context, quiet bool) (*modelstore.Store, []modelstore.Entry, []modelstore.Problem, error) {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return nil, nil, nil, err
	}
	bar := newProgressBar(quiet)
	defer bar.done()
	last := time.Now()
	entries, problems, err := s.Scan(ctx, func(p modelstore.Scanning) {
		if time.Since(last) > time.Second/10 {
			last = time.Now()
			bar.write(fmt.Sprintf("looking   %d files, %d models, %d read", p.Files, p.Models, p.Read))
		}
	})
	return s, entries, problems, err
}

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

type modelsListCmd struct {
	Kind   string `help:"Only one kind: checkpoint, unet, vae, text_encoder, lora, controlnet, upscaler, embedding, taesd or llm."`
	Family string `help:"Only a family, by the beginning of its name."`
	Usable bool   `help:"Only what this version can work with."`
	Hash   bool   `help:"Compute the hashes that are not known yet, which reads every file once."`
	Sort   string `enum:"name,size,family,kind,params,date" default:"name" help:"Order: name, size, family, kind, params or date."`
	JSON   bool   `name:"json" help:"Print one JSON object."`

	words string
}

// Run prints the list.
func (c *modelsListCmd) Run(ctx context.Context) error {
	s, entries, problems, err := scanned(ctx, c.JSON)
	if err != nil {
		return err
	}
	list := modelstore.Search(entries, modelstore.Query{Words: c.words, Kind: modelstore.Kind(c.Kind), Family: c.Family, Usable: c.Usable, Sort: c.Sort})
	if c.Hash {
		if err := hashAll(ctx, s, list, c.JSON); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(struct {
			Models   []modelstore.Entry   `json:"models"`
			Problems []modelstore.Problem `json:"problems,omitempty"`
		}{append([]modelstore.Entry{}, list...), problems})
	}
	printEntries(list)
	if len(list) == 0 {
		fmt.Println("No models. Link a folder of another program (models link FOLDER), or choose one from the catalogue (models catalogue).")
	}
	if len(problems) > 0 {
		fmt.Fprintf(os.Stderr, "atelier: %d things were in the way; see them with models scan\n", len(problems))
	}
	return nil
}

// hashAll fills in the hashes that a list lacks; models that cannot be read keep none.
func hashAll(ctx context.Context, s *modelstore.Store, list []modelstore.Entry, quiet bool) error {
	bar := newProgressBar(quiet)
	defer bar.done()
	for i := range list {
		start := time.Now()
		h, err := s.Hash(ctx, list[i].Path, func(done, all int64) {
			bar.write(byteLine("hash", done, all, float64(done)/time.Since(start).Seconds(), 0) + "  " + list[i].Name)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			list[i].Hashes = h
		}
	}
	return nil
}

// printEntries prints a table, with what is wrong with a model on a line below it.
func printEntries(list []modelstore.Entry) {
	if len(list) == 0 {
		return
	}
	var rows strings.Builder
	w := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tFAMILY\tSIZE\tNEEDS\tTYPE\tHASH\tLICENCE")
	for _, e := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(e.Name), e.Kind, oneLine(family(e)), compute.FormatBytes(e.Size), needs(e), oneLine(e.DType), dash(e.Short), oneLine(dash(e.Licence)))
	}
	w.Flush()
	head, body, _ := strings.Cut(rows.String(), "\n")
	fmt.Println(head)
	for i, line := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
		fmt.Println(strings.TrimRight(line, " "))
		if p := list[i].Problem; p != "" {
			fmt.Printf("    cannot be used: %s\n", oneLine(p))
		} else if n := list[i].Note; n != "" {
			fmt.Printf("    %s\n", oneLine(n))
		}
	}
}

// oneLine keeps what files are called and say of themselves from breaking a table, or speaking to the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func family(e modelstore.Entry) string {
	return dash(strings.TrimSpace(e.Family + " " + strings.Join(e.Variants, " ")))
}

func needs(e modelstore.Entry) string {
	if e.Memory.Bytes == 0 {
		return "-"
	}
	return compute.FormatBytes(e.Memory.Bytes)
}

type modelsSearchCmd struct {
	modelsListCmd
	Words []string `arg:"" help:"Words that must all occur."`
}

// Run prints the models that have the words.
func (c *modelsSearchCmd) Run(ctx context.Context) error {
	c.words = strings.Join(c.Words, " ")
	return c.modelsListCmd.Run(ctx)
}

type modelsInfoCmd struct {
	Name string `arg:"" help:"Name of a model, or the path of any file or folder."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run prints what is known of one model.
func (c *modelsInfoCmd) Run(ctx context.Context) error {
	s, _, _, err := scanned(ctx, c.JSON)
	if err != nil {
		return err
	}
	e, err := s.Find(c.Name)
	if _, notThere := os.Lstat(c.Name); err != nil && notThere == nil { // a path that no folder leads to
		e, err = s.Look(c.Name)
	}
	if err != nil {
		return err
	}
	vocabulary, vocabularyErr := s.Vocabulary()
	if c.JSON {
		return printJSON(struct {
			modelstore.Entry
			Vocabulary *modelstore.Vocabulary `json:"vocabulary,omitempty"`
		}{e, optional(vocabulary, vocabularyErr)})
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, oneLine(value))
		}
	}
	row("Name", e.Name)
	row("Title", e.Title)
	row("Path", e.Path)
	row("Found in", fmt.Sprintf("%s (%s)", e.Folder, e.Program))
	row("From", e.Source)
	row("Kind", string(e.Kind))
	row("Family", family(e))
	row("Format", strings.TrimSpace(e.Format+" "+e.DType))
	row("Parameters", e.ParamsText())
	row("Size", fmt.Sprintf("%s (%d bytes)", compute.FormatBytes(e.Size), e.Size))
	if e.Memory.Bytes > 0 {
		text := fmt.Sprintf("%s, %s", compute.FormatBytes(e.Memory.Bytes), e.Memory.Basis)
		if e.Memory.Least > 0 && e.Memory.Least < e.Memory.Bytes {
			text += fmt.Sprintf("; %s at the least, with weights that take turns on the device", compute.FormatBytes(e.Memory.Least))
		}
		row("Needs", text)
	}
	row("Licence", strings.TrimSpace(e.Licence+" "+e.LicenceURL))
	row("Author", e.Author)
	row("Base model", e.Base)
	row("Trigger words", strings.Join(e.Triggers, ", "))
	row("Tags", strings.Join(e.Tags, ", "))
	for _, f := range e.Facts {
		row(f.Name, f.Value)
	}
	row("Thumbnail", e.Thumbnail)
	row("SHA-256", e.SHA256)
	row("Hash", e.Short)
	row("Description", e.Description)
	row("Note", e.Note)
	if e.Kind == modelstore.Checkpoint && e.Format != string(modelstore.Diffusers) {
		if vocabularyErr != nil {
			row("Vocabulary", vocabularyErr.Error())
		} else {
			row("Vocabulary", vocabulary.From)
		}
	}
	if e.Problem != "" {
		row("Cannot be used", e.Problem)
	}
	return w.Flush()
}

func optional(v modelstore.Vocabulary, err error) *modelstore.Vocabulary {
	if err != nil {
		return nil
	}
	return &v
}

type modelsScanCmd struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

// Run prints how many models each folder has, and what was in the way.
func (c *modelsScanCmd) Run(ctx context.Context) error {
	s, entries, problems, err := scanned(ctx, c.JSON)
	if err != nil {
		return err
	}
	count, broken := map[string]int{}, map[string]int{}
	for _, e := range entries {
		count[e.Folder]++
		if e.Problem != "" {
			broken[e.Folder]++
		}
	}
	if c.JSON {
		return printJSON(struct {
			Folders  []modelstore.Folder  `json:"folders"`
			Models   int                  `json:"models"`
			Problems []modelstore.Problem `json:"problems"`
		}{s.Folders(), len(entries), append([]modelstore.Problem{}, problems...)})
	}
	for _, f := range s.Folders() {
		fmt.Printf("%4d models  %s (%s, %s)", count[f.Path], f.Path, f.Program, f.Origin)
		if n := broken[f.Path]; n > 0 {
			fmt.Printf(", %d of them cannot be used", n)
		}
		fmt.Println()
	}
	for _, p := range problems {
		fmt.Println(oneLine(p.Error()))
	}
	return nil
}

type modelsLinkCmd struct {
	Path string `arg:"" name:"folder" help:"Folder of A1111, Forge, ComfyUI, LM Studio, the Hugging Face cache, any other, or an extra_model_paths.yaml."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run links a folder and says what is in it.
func (c *modelsLinkCmd) Run(ctx context.Context) error {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return err
	}
	f, err := s.Link(c.Path)
	if err != nil {
		return err
	}
	_, entries, problems, err := scanned(ctx, c.JSON)
	if err != nil {
		return err
	}
	problems = slices.DeleteFunc(problems, func(p modelstore.Problem) bool { return !strings.HasPrefix(p.Path, f.Path) })
	n := 0
	for _, e := range entries {
		if e.Folder == f.Path {
			n++
		}
	}
	if c.JSON {
		return printJSON(struct {
			modelstore.Folder
			Models   int                  `json:"models"`
			Problems []modelstore.Problem `json:"problems,omitempty"`
		}{f, n, problems})
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "atelier:", oneLine(p.Error()))
	}
	fmt.Printf("%s (%s): %d models, used where they are\n", f.Path, f.Program, n)
	return nil
}

type modelsUnlinkCmd struct {
	Path string `arg:"" name:"folder" help:"A folder that is linked."`
}

// Run leaves a folder out.
func (c *modelsUnlinkCmd) Run() error {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return err
	}
	return s.Unlink(c.Path)
}

type modelsFolderCmd struct {
	Path string `arg:"" optional:"" name:"folder" help:"The folder to use from now on."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run shows the folders or chooses the studio's own.
func (c *modelsFolderCmd) Run() error {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return err
	}
	if c.Path != "" {
		if err := s.SetOwn(c.Path); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(s.Folders())
	}
	for _, f := range s.Folders() {
		fmt.Printf("%-7s %s (%s)\n", f.Origin, f.Path, f.Program)
	}
	return nil
}

type modelsImportCmd struct {
	Path string `arg:"" name:"file" help:"Model file, or a folder in the layout of diffusers."`
	Link bool   `help:"Link to the file instead of copying it."`
	Kind string `help:"What it is, where the file does not tell: as in models list --kind."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run brings a model in.
func (c *modelsImportCmd) Run(ctx context.Context) error {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return err
	}
	bar := newProgressBar(c.JSON)
	start := time.Now()
	e, err := s.Import(ctx, modelstore.Import{Path: c.Path, Link: c.Link, Kind: modelstore.Kind(c.Kind)}, func(done, all int64) {
		bar.write(byteLine("copy", done, all, float64(done)/time.Since(start).Seconds(), 0))
	})
	bar.done()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e)
	}
	fmt.Printf("%s: %s, %s\n", e.Path, e.Kind, family(e))
	if e.Problem != "" {
		fmt.Printf("    cannot be used: %s\n", e.Problem)
	}
	return nil
}

type modelsCatalogueCmd struct {
	JSON bool `name:"json" help:"Print one JSON array."`
}

// Run prints the catalogue.
func (c *modelsCatalogueCmd) Run() error {
	list := modelstore.Catalogue()
	if c.JSON {
		return printJSON(list)
	}
	for _, o := range list {
		size := "size unknown"
		if o.Size() > 0 {
			size = compute.FormatBytes(o.Size())
		}
		fmt.Printf("%-24s %s, %s, %s\n", o.ID, o.Name, size, dash(o.Family))
		fmt.Printf("    %s\n    licence: %s (%s). %s\n", o.GoodFor, o.Licence.Name, o.Licence.URL, o.Licence.Says)
	}
	return nil
}

type modelsHashCmd struct {
	Name string `arg:"" help:"Name or path of a model."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run prints a model's hashes.
func (c *modelsHashCmd) Run(ctx context.Context) error {
	s, _, _, err := scanned(ctx, c.JSON)
	if err != nil {
		return err
	}
	bar := newProgressBar(c.JSON)
	start := time.Now()
	h, err := s.Hash(ctx, c.Name, func(done, all int64) {
		bar.write(byteLine("hash", done, all, float64(done)/time.Since(start).Seconds(), 0))
	})
	bar.done()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(h)
	}
	fmt.Printf("sha256  %s\nhash    %s\nAutoV2  %s\n", h.SHA256, h.Short, h.AutoV2)
	if h.AutoV3 != "" {
		fmt.Printf("AutoV3  %s\n", h.AutoV3)
	}
	return nil
}

type modelsRemoveCmd struct {
	Name string `arg:"" help:"Name or path of a model in the studio's own folder."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run deletes a model.
func (c *modelsRemoveCmd) Run(ctx context.Context) error {
	s, _, _, err := scanned(ctx, c.JSON)
	if err != nil {
		return err
	}
	e, err := s.Remove(c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e)
	}
	fmt.Printf("%s is gone\n", e.Path)
	return nil
}

type modelsTokenCmd struct {
	Host string `arg:"" help:"Such as huggingface.co."`
}

// Run keeps a token.
func (c *modelsTokenCmd) Run() error {
	s, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return err
	}
	if strings.TrimSpace(c.Host) == "" {
		return errors.New("a token is for a host: name one, such as huggingface.co")
	}
	token, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	return s.SetToken(c.Host, strings.TrimSpace(token))
}
