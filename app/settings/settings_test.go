package settings

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMissingFileGivesDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "settings.json")
	s := Open(path)
	if got := s.Get(); !reflect.DeepEqual(got, Defaults()) {
		t.Errorf("got %+v", got)
	}
	if w := s.Warning(); w != "" {
		t.Errorf("warning %q", w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("a store without changes wrote a file")
	}
}

func TestChangesComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "settings.json")
	s := Open(path)
	want := Defaults()
	want.OutputFolder = "/pictures, mine"
	want.Theme = ThemeLight
	want.Device = DeviceHost
	want.SoundWhenDone = true
	want.Window.Width, want.Window.SessionHidden = 1500, true
	want.Last = Parameters{Prompt: "a tree \"in\"\nwinter 日本", Steps: 12, CFG: 4.5, Seed: "18446744073709551615"}
	want.History = []string{"one", "two"}
	s.Update(func(c *Settings) { *c = want })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := Open(path)
	defer again.Close()
	if got := again.Get(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".settings-*")); len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestBrokenFileIsKeptAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(path, []byte(`{"theme": "li`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Open(path)
	defer s.Close()
	if got := s.Get(); !reflect.DeepEqual(got, Defaults()) {
		t.Errorf("got %+v", got)
	}
	if w := s.Warning(); !strings.Contains(w, path+".bak") {
		t.Errorf("warning %q", w)
	}
	if w := s.Warning(); w != "" {
		t.Errorf("said twice: %q", w)
	}
	if data, err := os.ReadFile(path + ".bak"); err != nil || string(data) != `{"theme": "li` {
		t.Errorf("kept aside: %q, %v", data, err)
	}
}

func TestStrangeValuesAreCorrected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.json")
	os.WriteFile(path, []byte(`{"theme":"pink","device":"abacus","window":{"Width":-5,"Height":1e9,"ParameterColumn":3}}`), 0o600)
	s := Open(path)
	defer s.Close()
	got := s.Get()
	if got.Theme != ThemeDark || got.Device != DeviceAuto || got.Window.Width != 1280 || got.Window.Height != 16384 ||
		got.Window.ParameterColumn != 280 || got.Window.SessionColumn != 240 {
		t.Errorf("got %+v", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "settings.json"))
	defer s.Close()
	for i := range 250 {
		s.Update(func(c *Settings) { c.History = append(c.History, strings.Repeat("x", i)) })
	}
	h := s.Get().History
	if len(h) != HistoryLimit || len(h[len(h)-1]) != 249 {
		t.Errorf("%d prompts, last has %d letters", len(h), len(h[len(h)-1]))
	}
}

func TestWritesInTheBackgroundAndSurvivesUseAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.json")
	s := Open(path)
	s.Update(func(c *Settings) { c.Theme = ThemeLight })
	s.Update(func(c *Settings) { c.Device = DeviceHost })
	deadline := time.Now().Add(5 * time.Second)
	for {
		data, _ := os.ReadFile(path)
		if strings.Contains(string(data), `"device": "host"`) && strings.Contains(string(data), `"theme": "light"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not written: %s", data)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Update(func(c *Settings) { c.Device = DeviceAuto })
	if s.Get().Device != DeviceAuto {
		t.Error("a closed store forgot a change")
	}
}

func TestUnwritableFolderIsSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	s := Open(filepath.Join(file, "settings.json"))
	s.Update(func(c *Settings) { c.Theme = ThemeLight })
	err := s.Close()
	if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Close = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}
