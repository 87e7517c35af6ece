package pipeline

import "atelier/models/unet"

// conditions adds to the denoiser's inputs what families read beside the text's states.
func (j *job) conditions(in map[string][]float32) {
	u, rows := j.parts.unet, j.stages.rows()
	if u.TextTime {
		in["pooled"] = j.pooled
		for range rows {
			in["sizes"] = append(in["sizes"], Sizes(j.Width, j.Height)...)
		}
	}
	if u.GuidanceDim > 0 {
		for range rows {
			in["guidance"] = append(in["guidance"], unet.GuidanceEmbedding(j.CFG, u.GuidanceDim)...)
		}
	}
}
