package train

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// LoRAInfo is what a LoRA's file says about its training.
type LoRAInfo struct {
	Title, Author, Description, License string
	OutputName                          string // of the file, without its ending
	BaseModel                           string // file or name of the model that was adapted
	BaseVersion                         string // ss_base_model_version, such as sd_v1, sd_v2 or sdxl_base_v1-0
	Architecture                        string // of modelspec, such as stable-diffusion-v1; "/lora" is added
	Prediction                          string // epsilon or v
	Trigger                             string // words that call what was learnt
	Width, Height                       int
	Steps, Epochs, Batch                int
	Images                              int
	Optimiser                           Optimiser
	Schedule                            Schedule
	Seed                                uint64
	Tags                                map[string]map[string]int // how often each tag occurs, by folder
	Started, Finished                   time.Time
}

// Metadata is the information under the keys of kohya's scripts (ss_*) and of the model metadata standard 1.0.1 (modelspec.*).
func (l *LoRA) Metadata(i LoRAInfo) map[string]string {
	resolution := fmt.Sprintf("%dx%d", i.Width, i.Height)
	m := map[string]string{
		"ss_network_module": "networks.lora", "ss_network_dim": strconv.Itoa(l.Rank), "ss_network_alpha": strconv.FormatFloat(l.Alpha, 'f', -1, 64),
		"ss_base_model_version": i.BaseVersion, "ss_sd_model_name": i.BaseModel, "ss_resolution": fmt.Sprintf("(%d, %d)", i.Width, i.Height),
		"ss_steps": strconv.Itoa(i.Steps), "ss_max_train_steps": strconv.Itoa(i.Steps), "ss_epoch": strconv.Itoa(i.Epochs), "ss_num_epochs": strconv.Itoa(i.Epochs),
		"ss_batch_size_per_device": strconv.Itoa(i.Batch), "ss_num_train_images": strconv.Itoa(i.Images),
		"ss_learning_rate": strconv.FormatFloat(i.Optimiser.Rate, 'g', -1, 64), "ss_optimizer": i.Optimiser.Kind,
		"ss_lr_scheduler": i.Schedule.Kind, "ss_lr_warmup_steps": strconv.Itoa(i.Schedule.Warmup),
		"ss_seed": strconv.FormatUint(i.Seed, 10), "ss_output_name": i.OutputName,
		"modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": i.Architecture + "/lora", "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
		"modelspec.title": i.Title, "modelspec.resolution": resolution,
	}
	if i.Schedule.Kind == "" {
		m["ss_lr_scheduler"] = "constant"
	}
	if tags, err := json.Marshal(i.Tags); err == nil && len(i.Tags) > 0 {
		m["ss_tag_frequency"] = string(tags)
	}
	for key, value := range map[string]string{
		"modelspec.author": i.Author, "modelspec.description": i.Description, "modelspec.license": i.License,
		"modelspec.trigger_phrase": i.Trigger, "modelspec.prediction_type": i.Prediction,
	} {
		if value != "" {
			m[key] = value
		}
	}
	if !i.Started.IsZero() {
		m["ss_training_started_at"] = unix(i.Started)
	}
	if !i.Finished.IsZero() {
		m["ss_training_finished_at"], m["modelspec.date"] = unix(i.Finished), i.Finished.UTC().Format("2006-01-02T15:04:05Z")
	}
	return m
}

// unix is a time as Python's time.time() prints it.
func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
