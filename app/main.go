// Command atelier is the studio: a window for people, and the same engine on the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	_ "atelier/app/language" // before the toolkit initialises

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// commands is the command line. Without a command, the window opens; without a display, one picture is made instead.
type commands struct {
	Studio studioCmd        `cmd:"" default:"1" help:"Open the studio (the default). Without a display, make one picture from a default prompt."`
	Image  imageCmd         `cmd:"" help:"Make pictures from a prompt."`
	Doctor doctorCmd        `cmd:"" help:"Describe this machine and check every kernel against its definition."`
	Bench  benchCmd         `cmd:"" help:"Time the kernels against this machine's own ceilings."`
	Probe  probeCmd         `cmd:"" help:"Run one part of a model on given tensors."`
	Ver    kong.VersionFlag `name:"version" help:"Print the version."`
}

func init() {
	// GLFW and Fyne insist on the process's first thread.
	runtime.LockOSThread()
}

func main() {
	var c commands
	k := kong.Parse(&c, kong.Name("atelier"), kong.Description("A native creative studio: words in, pictures out, on your own machine."),
		kong.Vars{"version": version}, kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	err := k.Run()
	stop()
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "atelier: cancelled")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "atelier:", err)
		os.Exit(1)
	}
}

// hasDisplay reports whether a window can open.
func hasDisplay() bool {
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}
