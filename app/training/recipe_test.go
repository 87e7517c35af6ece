package training

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRecipesComeBack(t *testing.T) {
	for _, k := range Kinds() {
		r, err := New(k.Name, "my thing", "/pictures", "")
		must(t, err)
		r.Description, r.Licence, r.Author = "with \"marks\",\na line and # more", "CC0-1.0", `a\b`
		r.Samples.Prompts, r.Samples.Seeds = []string{"a cat, \"big\"", "zwölf"}, []uint64{1, 1<<63 - 1}
		r.Train.EMA, r.Train.Patience, r.Data.Folds, r.Data.Augment.Hue = 0.9999, 3, 4, 12.5
		r.Train.Rate = 1.5e-7
		r, err = r.Fill()
		must(t, err)
		back, err := Parse([]byte(r.Text()))
		if err != nil {
			t.Fatalf("%s: %v\n%s", k.Name, err, r.Text())
		}
		if !reflect.DeepEqual(r, back) {
			t.Errorf("%s came back as\n%+v, was\n%+v", k.Name, back, r)
		}
		for line := range strings.Lines(r.Text()) {
			if key, _, ok := strings.Cut(line, " = "); ok && !strings.Contains(line, "#") && !slices.Contains([]string{"height", "contrast", "saturation", "learning_rate", "weight_decay", "beta2", "latent_channels"}, key) {
				t.Errorf("%s: no comment on %q", k.Name, line)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	r, err := Parse([]byte("kind = \"lora\"\nname = \"x\"\n[data]\npath = \"d\"\n"))
	must(t, err)
	if r.LoRA.Rank != 16 || r.LoRA.Alpha != 8 || r.Train.Rate != 1e-4 || r.Base != "sticker" || *r.Train.Decay != 0.01 || *r.Data.CaptionDropout != 0.1 || r.Train.Optimiser != "adamw" {
		t.Errorf("%+v", r)
	}
	r, err = Parse([]byte("kind = \"autoencoder\"\nname = \"x\"\n[data]\npath = \"d\"\n[train]\nepochs = 3\nclip = 0.0\n"))
	must(t, err)
	if r.Base != "" || r.Train.Steps != 0 || r.Train.Epochs != 3 || *r.Train.Clip != 0 || r.Data.Width != 64 || !reflect.DeepEqual(r.VAE.Channels, []int{32, 64, 96}) {
		t.Errorf("%+v", r)
	}
}

// TestBadRecipes holds that what is wrong is said in one sentence with the key, and the line where it is a matter of the text.
func TestBadRecipes(t *testing.T) {
	const head = "kind = \"lora\"\nname = \"x\"\n"
	const data = "[data]\npath = \"d\"\n"
	for _, c := range []struct{ text, want string }{
		{"", `kind: nothing of the kind ""`},
		{"kind = \"gann\"", `kind: nothing of the kind "gann"`},
		{head, "data.path: there is no folder"},
		{"kind = \"lora\"\nname = \"a/b\"\n" + data, `name: "a/b" cannot be`},
		{"kind = \"lora\"\nname = \"..\"\n" + data, `name: ".." cannot be`},
		{head + data + "pathh = \"e\"\n", `line 5: a recipe has no key "data.pathh"; did you mean "data.path"?`},
		{head + "[train]\nlearning_rate = \"fast\"\n" + data, "line 4: the value of train.learning_rate must be a number, without quotes"},
		{head + "[train]\nsteps = \"many\"\n" + data, "line 4: the value of train.steps must be a whole number, without quotes"},
		{head + "[train]\nhalf = 1\n" + data, "line 4: the value of train.half must be true or false, without quotes"},
		{head + "[train]\noptimiser = 3\n" + data, "line 4: the value of train.optimiser must be a text in quotes"},
		{head + "[samples]\nseeds = 3\n" + data, "line 4: the value of samples.seeds must be a list in square brackets"},
		{head + "learning_rate = 1.0\n" + data, `line 3: a recipe has no key "learning_rate"; did you mean "train.learning_rate"?`},
		{head + "[nonsense]\nqq = 1\n", "line 3: a recipe has no key"},
		{head + data + "[train]\nsteps = \"many\"\n", "line 6"},
		{head + data + "[train]\nsteps = 1.5\n", "line 6"},
		{head + "oops\n" + data, "line 3"},
		{head + data + "[train]\nsteps = -1\n", "train.steps: -1 is not possible"},
		{head + data + "[train]\nsteps = 5\nepochs = 5\n", "train.steps and train.epochs are both given"},
		{head + data + "[train]\nlearning_rate = -0.1\n", "train.learning_rate: -0.1 is not possible"},
		{head + data + "[train]\nlearning_rate = nan\n", "train.learning_rate: NaN is not possible"},
		{head + data + "[train]\noptimiser = \"adammm\"\n", `train.optimiser: there is no optimiser "adammm"`},
		{head + data + "[train]\nschedule = \"cosin\"\n", `train.schedule: there is no schedule "cosin"`},
		{head + data + "[train]\nnesterov = true\n", "train.nesterov looks ahead"},
		{head + data + "[train]\nema = 1.0\n", "train.ema: 1 is not possible"},
		{head + data + "validation = 0.0\n[train]\npatience = 2\n", "train.patience: stopping early"},
		{head + data + "validation = 2.0\n", "data.validation: 2 is not possible"},
		{head + data + "folds = 1\n", "data.folds: 1 fold"},
		{head + data + "split = \"files\"\n", `data.split: validation cannot be parted by "files"`},
		{head + data + "crop = \"left\"\n", `data.crop: there is no crop "left"`},
		{head + data + "[lora]\nrank = -2\n", "lora.rank: -2 is not possible"},
		{"kind = \"textual_inversion\"\nname = \"x\"\n" + data + "trigger = \"cat\"\n[textual_inversion]\ntoken = \"<y>\"\n", `data.trigger: "cat" lacks the word "<y>"`},
		{"kind = \"textual_inversion\"\nname = \"x\"\n" + data + "[textual_inversion]\ntoken = \"two words\"\n", "textual_inversion.token"},
		{"kind = \"autoencoder\"\nname = \"x\"\n" + data + "[autoencoder]\nchannels = [30]\n", "autoencoder.channels: 30 is no multiple"},
		{"kind = \"autoencoder\"\nname = \"x\"\nbase = \"sticker\"\n" + data + "[autoencoder]\nchannels = [32]\n", "autoencoder: the network is that of the model sticker"},
		{"kind = \"rectified_flow\"\nname = \"x\"\n" + data + "[diffusion]\nmin_snr = 5.0\n", "diffusion.min_snr"},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil {
			t.Errorf("%q was taken", c.text)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestLoadResolvesPaths(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.toml")
	must(t, os.WriteFile(path, []byte("kind = \"lora\"\nname = \"x\"\nbase = \"../model\"\n[data]\npath = \"pictures\"\n"), 0o644))
	r, err := Load(path)
	must(t, err)
	if r.Data.Path != filepath.Join(dir, "pictures") || r.Base != filepath.Join(filepath.Dir(dir), "model") {
		t.Errorf("%q, %q", r.Data.Path, r.Base)
	}
	if got := FolderOf(r, path); got != filepath.Join(dir, "x") {
		t.Errorf("the run's folder is %s", got)
	}
	if got := FolderOf(r, filepath.Join(dir, "run", recipeFile)); got != filepath.Join(dir, "run") {
		t.Errorf("a run's own recipe leads to %s", got)
	}
	for _, bad := range []string{filepath.Join(dir, "none.toml"), dir} {
		if _, err := Load(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, k := range Kinds() {
		r, err := New(k.Name, "x", "d", "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(r.Text()))
	}
	f.Add([]byte("kind = \"lora\"\n[data]\npath = [1]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		back, err := Parse([]byte(r.Text()))
		if err != nil || !reflect.DeepEqual(r, back) {
			t.Errorf("%q came back as %+v (%v), was %+v", text, back, err, r)
		}
	})
}

// TestTriggerStandsWhereItShould: before captions, or after them as the built-in model's words of style, and in none twice.
func TestTriggerStandsWhereItShould(t *testing.T) {
	for _, c := range []struct {
		last          bool
		caption, want string
	}{{false, "a cat", "toy, a cat"}, {true, "a cat", "a cat, toy"}, {true, "", "toy"}, {true, "a toy cat", "a toy cat"}, {false, "", "toy"}} {
		if got := (&Data{Trigger: "toy", TriggerLast: c.last}).Called(c.caption); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	own, err := New("lora", "toy", "d", "")
	must(t, err)
	other, err := New("lora", "toy", "d", "/other")
	must(t, err)
	if !own.Data.TriggerLast || other.Data.TriggerLast {
		t.Errorf("the built-in model's LoRA has its trigger last: %v, another's: %v", own.Data.TriggerLast, other.Data.TriggerLast)
	}
}
