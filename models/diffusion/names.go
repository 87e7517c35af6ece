package diffusion

import (
	"fmt"
	"strings"
)

// Named is a sampler or a schedule: the id for files and flags, the label that people know.
type Named struct{ ID, Label string }

// Samplers lists the samplers in the order in which a menu shows them.
func Samplers() []Named {
	return []Named{
		{"euler", "Euler"}, {"euler_ancestral", "Euler a"}, {"heun", "Heun"}, {"dpm_2", "DPM2"}, {"dpm_2_ancestral", "DPM2 a"},
		{"lms", "LMS"}, {"dpmpp_2m", "DPM++ 2M"}, {"dpmpp_sde", "DPM++ SDE"}, {"dpmpp_2m_sde", "DPM++ 2M SDE"},
		{"dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun"}, {"dpmpp_2s_ancestral", "DPM++ 2S a"}, {"dpmpp_3m_sde", "DPM++ 3M SDE"},
		{"ddim", "DDIM"}, {"ddpm", "DDPM"}, {"uni_pc", "UniPC"}, {"lcm", "LCM"}, {"pndm", "PLMS"},
	}
}

// Schedules lists the schedules in the order in which a menu shows them. "normal" is the model's own spacing.
func Schedules() []Named {
	return []Named{
		{"normal", "Normal"}, {"karras", "Karras"}, {"exponential", "Exponential"}, {"sgm_uniform", "SGM Uniform"},
		{"simple", "Simple"}, {"ddim_uniform", "DDIM Uniform"}, {"beta", "Beta"}, {"linear_quadratic", "Linear Quadratic"},
	}
}

// SchedulesFor lists the schedules that a sampler takes: all, or only "normal" where the method dictates its timesteps.
func SchedulesFor(sampler string) []Named {
	if sampler == "lcm" || sampler == "pndm" {
		return Schedules()[:1]
	}
	return Schedules()
}

// otherNames are spellings of other programs, after plain.
var otherNames = map[string]string{
	"keuler": "euler", "keulera": "euler_ancestral", "keulerancestral": "euler_ancestral", "kheun": "heun", "kdpmpp2m": "dpmpp_2m",
	"plms": "pndm", "dpmsolvermultistep": "dpmpp_2m", "dpmpp": "dpmpp_2m", "eulerdiscrete": "euler", "eulerancestraldiscrete": "euler_ancestral",
	"heundiscrete": "heun", "unipcmultistep": "uni_pc", "lmsdiscrete": "lms", "klms": "lms", "dpm2a": "dpm_2_ancestral", "dpm2ancestral": "dpm_2_ancestral",
	"kdpm2": "dpm_2", "kdpm2a": "dpm_2_ancestral", "kdpm2ancestral": "dpm_2_ancestral", "kdpm2discrete": "dpm_2", "kdpm2ancestraldiscrete": "dpm_2_ancestral",
	"dpmsolversde": "dpmpp_sde", "kdpmppsde": "dpmpp_sde", "dpmpp2sa": "dpmpp_2s_ancestral", "kdpmpp2sa": "dpmpp_2s_ancestral", "kdpmpp2msde": "dpmpp_2m_sde",
	"kdpmpp2msdeheun": "dpmpp_2m_sde_heun", "kdpmpp3msde": "dpmpp_3m_sde", "dpmpp2sancestral": "dpmpp_2s_ancestral", "unipcbh2": "uni_pc",
	"dpmppsdegpu": "dpmpp_sde", "dpmpp2msdegpu": "dpmpp_2m_sde", "dpmpp3msdegpu": "dpmpp_3m_sde",
	"uniform": "normal", "ddimuniform": "ddim_uniform",
}

// plain drops what differs between spellings of one name: case, spaces, marks; ++ is pp.
func plain(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "", "+", "p").Replace(strings.ToLower(strings.TrimSpace(name)))
}

func find(list []Named, name string) (string, bool) {
	p := plain(name)
	for _, n := range list {
		if p == plain(n.ID) || p == plain(n.Label) || otherNames[p] == n.ID {
			return n.ID, true
		}
	}
	return "", false
}

func ids(list []Named) (out []string) {
	for _, n := range list {
		out = append(out, n.ID)
	}
	return out
}

// ParseSchedule finds a schedule by id or label in any case. "" and "Automatic" give "", the model's default.
func ParseSchedule(name string) (string, error) {
	if p := plain(name); p == "" || p == "automatic" {
		return "", nil
	}
	if id, ok := find(Schedules(), name); ok {
		return id, nil
	}
	return "", fmt.Errorf("diffusion: the schedule %.40q is not known; choose one of %v", name, ids(Schedules()))
}

// ParseSampler finds a sampler by id or label in any case. Old names that end in a schedule, such as "DPM++ 2M Karras", give
// both; otherwise schedule is "". "" gives "", the model's default.
func ParseSampler(name string) (sampler, schedule string, err error) {
	if plain(name) == "" {
		return "", "", nil
	}
	if id, ok := find(Samplers(), name); ok {
		return id, "", nil
	}
	p := plain(name)
	for _, s := range append(Schedules(), Named{"normal", "Uniform"}) {
		for _, suffix := range []string{plain(s.ID), plain(s.Label)} {
			front, ok := strings.CutSuffix(p, suffix)
			if !ok {
				continue
			}
			if id, ok := find(Samplers(), front); ok {
				return id, s.ID, nil
			}
		}
	}
	return "", "", fmt.Errorf("diffusion: the sampler %.40q is not known; choose one of %v", name, ids(Samplers()))
}

// DefaultSampler is the sampler that a scheduler class stands for; "ddim" for an unknown one.
func (c Config) DefaultSampler() string {
	if id, ok := find(Samplers(), strings.TrimSuffix(c.ClassName, "Scheduler")); ok {
		if id == "dpmpp_2m" && strings.HasPrefix(c.Algorithm, "sde-") {
			return "dpmpp_2m_sde"
		}
		return id
	}
	return "ddim"
}

// DefaultSchedule is the schedule that the configuration asks for.
func (c Config) DefaultSchedule() string {
	switch {
	case c.KarrasSigmas:
		return "karras"
	case c.ExponentialSigmas:
		return "exponential"
	case c.BetaSigmas:
		return "beta"
	}
	return "normal"
}
