package audio

import (
	"io"

	"github.com/ebitengine/oto/v3"
)

// ahead is how many bytes the driver takes from the ring in advance: 50 ms, short enough for a sound to start at once.
const ahead = Rate / 20 * frameBytes

// otoDevice is the driver's context with the one voice that reads from the ring; the voice ends when nobody holds it.
type otoDevice struct {
	*oto.Context
	voice *oto.Player
}

func openDevice(source io.Reader) (device, <-chan struct{}, error) {
	quietDriver()
	ctx, ready, err := oto.NewContext(&oto.NewContextOptions{SampleRate: Rate, ChannelCount: Channels, Format: oto.FormatFloat32LE})
	if err != nil {
		return nil, nil, err
	}
	voice := ctx.NewPlayer(source)
	voice.SetBufferSize(ahead)
	voice.Play()
	return &otoDevice{Context: ctx, voice: voice}, ready, nil
}
