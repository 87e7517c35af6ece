package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/app/modelstore"

	"github.com/adrg/xdg"
	"github.com/alecthomas/kong"
)

// runLine runs a command line as main does and gives what it prints.
func runLine(t *testing.T, line ...string) (string, error) {
	t.Helper()
	k, err := kong.Must(&commands{}, kong.Vars{"version": "test", "train_kinds": kindNames()}, kong.Name("atelier")).Parse(joinNegatives(line))
	if err != nil {
		t.Fatal(err)
	}
	k.BindTo(context.Background(), (*context.Context)(nil))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string)
	go func() {
		data, _ := io.ReadAll(r)
		out <- string(data)
	}()
	stdout := os.Stdout
	os.Stdout = w
	err = k.Run()
	os.Stdout = stdout
	w.Close()
	return <-out, err
}

func TestModelsCommands(t *testing.T) {
	dir := t.TempDir()
	for _, env := range []string{"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"} {
		t.Setenv(env, filepath.Join(dir, env))
	}
	t.Setenv("HOME", filepath.Join(dir, "home"))
	t.Setenv("HF_HOME", "")
	t.Setenv("HF_HUB_CACHE", "")
	xdg.Reload()
	t.Cleanup(xdg.Reload)
	data, err := os.ReadFile("../models/testdata/lora/kohya.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "theirs", "some lora.safetensors")
	os.MkdirAll(filepath.Dir(file), 0o755)
	os.WriteFile(file, data, 0o644)

	out, err := runLine(t, "models", "link", filepath.Dir(file))
	if err != nil || !strings.Contains(out, "(folder): 1 models") {
		t.Fatalf("%q, %v", out, err)
	}
	var listed struct{ Models []modelstore.Entry }
	out, err = runLine(t, "models", "list", "--json", "--kind", "lora", "--hash")
	if err != nil || json.Unmarshal([]byte(out), &listed) != nil || len(listed.Models) != 1 || listed.Models[0].Path != file || len(listed.Models[0].SHA256) != 64 || listed.Models[0].Size != int64(len(data)) {
		t.Fatalf("%q, %v", out, err)
	}
	out, err = runLine(t, "models", "search", "stable", "SOME")
	if err != nil || !strings.Contains(out, "some lora") || !strings.Contains(out, listed.Models[0].Short) {
		t.Errorf("%q, %v", out, err)
	}
	if out, err = runLine(t, "models", "info", "some lora"); err != nil || !strings.Contains(out, "Stable Diffusion 1") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err = runLine(t, "models", "import", file, "--json"); err != nil || !strings.Contains(out, filepath.Join("models", "loras", "some lora.safetensors")) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err = runLine(t, "models", "unlink", filepath.Dir(file)); err != nil {
		t.Error(err)
	}
	for _, part := range []string{"", "some"} {
		if out, err = runLine(t, "models", "remove", part); err == nil {
			t.Errorf("remove %q: %q", part, out)
		}
	}
	if out, err = runLine(t, "models", "remove", "some lora"); err != nil || !strings.Contains(out, "is gone") {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error("the file that was brought in is gone, too")
	}
	if _, err = runLine(t, "models", "info", "some lora"); err == nil {
		t.Error("it is still listed")
	}
	if out, err = runLine(t, "models", "link", ""); err == nil || !strings.Contains(err.Error(), "no folder is named") {
		t.Errorf("%q, %v", out, err)
	}
	odd := filepath.Join(dir, "odd")
	os.MkdirAll(odd, 0o755)
	for _, name := range []string{"two\nlines\tand \x1b[31mred", "\xff"} {
		os.WriteFile(filepath.Join(odd, name+".safetensors"), nil, 0o644)
	}
	if _, err = runLine(t, "models", "link", odd); err != nil {
		t.Error(err)
	}
	if out, err = runLine(t, "models", "list"); err != nil || !strings.Contains(out, "two lines and  [31mred") || strings.Count(out, "\n") != 5 {
		t.Errorf("%q, %v", out, err)
	}
	if out, err = runLine(t, "models", "catalogue"); err != nil || !strings.Contains(out, "clip-vocabulary") || !strings.Contains(out, "CreativeML OpenRAIL-M") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestDownloadAsksForConsent(t *testing.T) {
	dir := t.TempDir()
	for _, env := range []string{"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"} {
		t.Setenv(env, filepath.Join(dir, env))
	}
	t.Setenv("HOME", filepath.Join(dir, "home"))
	xdg.Reload()
	t.Cleanup(xdg.Reload)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	defer server.Close()
	t.Setenv("ATELIER_MODEL_SOURCE", server.URL)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	stdin := os.Stdin
	os.Stdin = null
	defer func() { os.Stdin = stdin }()
	if _, err := runLine(t, "models", "download", "taesd"); err == nil || !strings.Contains(err.Error(), "--accept-licence") || !strings.Contains(err.Error(), "MIT") {
		t.Errorf("%v", err)
	}
	out, err := runLine(t, "models", "download", "taesd", "--accept-licence", "--json")
	if err == nil || !strings.Contains(err.Error(), "does not have it") || !strings.Contains(out, `"state":"failed"`) {
		t.Errorf("%q, %v", out, err)
	}
	lora, err := os.ReadFile("../models/testdata/lora/kohya.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(lora) }))
	defer files.Close()
	out, err = runLine(t, "models", "download", files.URL+"/a/b.safetensors?x=1", "--json")
	if err != nil || !strings.Contains(out, filepath.Join("atelier", "models", "loras", "b.safetensors")) || !strings.Contains(out, `"state":"done"`) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := runLine(t, "models", "download", "no-such-model"); err == nil || !strings.Contains(err.Error(), "sd-turbo") {
		t.Errorf("%v", err)
	}
}
