package main

import "atelier/render/audio"

// chimeOn plays the chime on a player that it opens when the first one is wanted; one that still plays begins anew. What it gives
// may take seconds to return, the first time.
func chimeOn(player *audio.Player) func() error {
	return func() error {
		if err := player.Open(); err != nil {
			return err
		}
		player.Stop()
		return player.Play(audio.Chime())
	}
}
