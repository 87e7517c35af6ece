// Package icon holds the program's icon.
package icon

import _ "embed"

// PNG is the icon, 256 by 256 pixels.
//
//go:embed atelier.png
var PNG []byte
