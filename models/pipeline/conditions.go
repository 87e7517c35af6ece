package pipeline

import "atelier/models/unet"

// conditions adds to the denoiser's inputs what families read beside the text's states.
func (j *job) conditions(in map[string][]float32) {
	u, rows := j.parts.unet, j.stages.rows()
	if u.TextTime {
		in["pooled"] = j.pooled
		h, w := float32(j.Height), float32(j.Width)
		for range rows {
			own := sizes{h, w, 0, 0, h, w}
			in["sizes"] = append(in["sizes"], own[:]...)
		}
	}
	if u.GuidanceDim > 0 {
		for range rows {
			in["guidance"] = append(in["guidance"], unet.GuidanceEmbedding(j.CFG, u.GuidanceDim)...)
		}
	}
}
