package ui

import (
	"runtime"

	"fyne.io/fyne/v2"
)

// calm is the application without the toolkit's animations. A blinking caret repaints the whole window a dozen times a second,
// which a software driver takes from the picture that is being made; measured here, 12 % of a core.
type calm struct{ fyne.App }

// Settings implements fyne.App.
func (c calm) Settings() fyne.Settings { return calmSettings{c.App.Settings()} }

type calmSettings struct{ fyne.Settings }

// ShowAnimations implements fyne.Settings.
func (calmSettings) ShowAnimations() bool { return false }

// calmDown makes the toolkit ask the calm application. On macOS the toolkit insists on its own type of settings, and there the
// graphics hardware draws.
func calmDown(a fyne.App) {
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		fyne.SetCurrentApp(calm{a})
	}
}
