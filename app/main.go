// Command atelier is the studio: a window for people, and the same engine on the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	_ "atelier/app/language" // before the toolkit initialises

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// commands is the command line. Without a command, the window opens; without a display, one picture is made instead.
type commands struct {
	Studio  studioCmd        `cmd:"" default:"withargs" help:"Open the studio (the default). Without a display, make one picture from a default prompt."`
	Image   imageCmd         `cmd:"" help:"Make pictures from a prompt."`
	Upscale upscaleCmd       `cmd:"" help:"Enlarge pictures by an upscaler: Real-ESRGAN, ESRGAN, BSRGAN and their like."`
	Train   trainCmd         `cmd:"" help:"Train a model, or an addition to one, on your own pictures."`
	Dataset datasetCmd       `cmd:"" help:"Check a training set: what is wrong with it, its sizes, and what it over-represents."`
	Judge   judgeCmd         `cmd:"" help:"Measure made pictures against real ones: FID, KID, precision and recall, copies of training pictures."`
	Doctor  doctorCmd        `cmd:"" help:"Describe this machine and check every kernel against its definition."`
	Bench   benchCmd         `cmd:"" help:"Time the kernels against this machine's own ceilings."`
	Probe   probeCmd         `cmd:"" help:"Run one part of a model on given tensors."`
	Models  modelsCmd        `cmd:"" help:"See, link, bring in and download models."`
	Ver     kong.VersionFlag `name:"version" help:"Print the version."`
}

func init() {
	// GLFW and Fyne insist on the process's first thread.
	runtime.LockOSThread()
	// What lives long here is tensors, which are large and few: by default the heap might grow to twice their size before garbage,
	// of which there is little, is collected.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
}

func main() {
	var c commands
	parser := kong.Must(&c, kong.Name("atelier"), kong.Description("A native creative studio: words in, pictures out, on your own machine."),
		kong.Vars{"version": version, "train_kinds": kindNames()})
	k, err := parser.Parse(joinNegatives(os.Args[1:]))
	if err != nil {
		fmt.Fprintln(os.Stderr, "atelier:", mistake(err))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run()
	stop()
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		advice, _ := strings.CutPrefix(err.Error(), context.Canceled.Error()) // what it leaves to do, where that is said
		fmt.Fprintln(os.Stderr, "atelier: cancelled"+advice)
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "atelier:", err)
		os.Exit(1)
	}
}

// joinNegatives writes "--cfg -3" as "--cfg=-3": after a space, the parser takes -3 for a flag of its own.
func joinNegatives(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		if strings.HasPrefix(a, "--") && len(a) > 2 && !strings.Contains(a, "=") && i+1 < len(args) && strings.HasPrefix(args[i+1], "-") {
			if _, err := strconv.ParseFloat(args[i+1], 64); err == nil {
				i++
				a += "=" + args[i]
			}
		}
		out = append(out, a)
	}
	return out
}

// megabytes gives bytes; numbers too large for that are no limit, and those below 0 stay so.
func megabytes(n int64) int64 { return min(max(n, -1), math.MaxInt64/1_000_000) * 1_000_000 }

// mistake is one sentence about a command line that was not understood.
func mistake(err error) string {
	help := "atelier"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if n := parse.Context.Selected(); n != nil && n.Type == kong.CommandNode && n.Name != "studio" {
			help = n.FullPath()
		}
	}
	return fmt.Sprintf("%v; see %s --help", err, help)
}

// hasDisplay reports whether a window can open.
func hasDisplay() bool {
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}
