package deps
import (
 _ "fyne.io/fyne/v2/app"
 _ "github.com/go-gl/gl/v4.3-core/gl"
 _ "github.com/go-gl/glfw/v3.3/glfw"
 _ "gorgonia.org/tensor"
 _ "github.com/ebitengine/oto/v3"
 _ "github.com/alecthomas/kong"
 _ "github.com/adrg/xdg"
)
