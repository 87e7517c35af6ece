package taesd

import (
	"math"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

// load builds the two halves from files named after one golden.
func load(t *testing.T, name, ending string) (encoder, decoder *Coder) {
	t.Helper()
	for _, half := range []string{"_encoder", "_decoder"} {
		s := nn.Load(name+half, goldentest.Open(t, "taesd/"+name+half+ending))
		p := Find(s)
		var err error
		switch {
		case half == "_encoder" && p.HasEncoder && !p.HasDecoder:
			encoder, err = NewEncoder(s.At(p.Encoder))
		case half == "_decoder" && p.HasDecoder && !p.HasEncoder:
			decoder, err = NewDecoder(s.At(p.Decoder))
		default:
			t.Fatalf("%s%s holds %+v", name, half, p)
		}
		if err == nil {
			err = s.Finish()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return encoder, decoder
}

// TestGoldens is the cases taesd-sd1, random weights, and taesd-taef2-real, the authors' own weights with the group norm of
// the bottleneck.
func TestGoldens(t *testing.T) {
	for id, c := range map[string]struct {
		file     string
		ending   string
		channels int
		latents  string // what is decoded: an input, or the golden latents
	}{"taesd-sd1": {"taesd", ".safetensors", 4, "z"}, "taesd-taef2-real": {"taef2", ".pth", 32, "latents"}} {
		t.Run(id, func(t *testing.T) {
			encoder, decoder := load(t, c.file, c.ending)
			if encoder.In != 3 || encoder.Out != c.channels || encoder.Factor != 8 || decoder.In != c.channels || decoder.Out != 3 || decoder.Factor != 8 {
				t.Fatalf("encoder %d to %d at 1/%d, decoder %d to %d at %d", encoder.In, encoder.Out, encoder.Factor, decoder.In, decoder.Out, decoder.Factor)
			}
			in, want := goldentest.Read(t, "taesd/"+c.file+".in.safetensors"), goldentest.Read(t, "taesd/"+c.file+".out.safetensors")
			z, ok := in[c.latents]
			if !ok {
				z = want[c.latents]
			}
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				g, feed := compute.NewGraph(), map[string][]float32{}
				g.Output("latents", encoder.Forward(goldentest.Input(g, feed, "image", in["image01"])))
				g.Output("decoded", decoder.Forward(goldentest.Input(g, feed, "z", z)))
				if _, ok := want["decoded_from_u8_latents"]; ok && dev.Limits().Shaders { // once is enough: the network is the same
					g.Output("decoded_from_u8_latents", decoder.Forward(goldentest.Input(g, feed, "z8", eightBits(z))))
				}
				got := goldentest.Run(t, dev, g, feed)
				goldentest.Compare(t, goldentest.Load(t, id), got, want)
				if c.file == "taef2" {
					if db := psnr(got["decoded"].Data, in["image01"].Data); math.Abs(db-28) > 0.1 {
						t.Errorf("the picture comes back with a PSNR of %.2f dB; 28.0 is wanted", db)
					}
				}
			})
		})
	}
}

// eightBits rounds latents to what a picture of 8 bits holds, from −3 to 3.
func eightBits(z goldentest.Tensor) goldentest.Tensor {
	out := goldentest.Tensor{Shape: z.Shape, Data: make([]float32, len(z.Data))}
	for i, v := range z.Data {
		level := math.Round(min(max(float64(v)/6+0.5, 0), 1) * 255)
		out.Data[i] = float32((level/255 - 0.5) * 6)
	}
	return out
}

func psnr(got, want []float32) float64 {
	sum := 0.0
	for i, v := range got {
		d := math.Min(math.Max(float64(v), 0), 1) - float64(want[i])
		sum += d * d
	}
	return -10 * math.Log10(sum/float64(len(got)))
}

// TestOtherNames loads the decoder under the names of diffusers, which leaves the saturation out of the sequence.
func TestOtherNames(t *testing.T) {
	shifted := func(n string) string {
		place, leaf, _ := strings.Cut(n, ".")
		k := 0
		for _, d := range place {
			k = 10*k + int(d-'0')
		}
		return "decoder.layers." + string(rune('0'+(k-1)/10)) + string(rune('0'+(k-1)%10)) + "." + leaf
	}
	trimmed := func(n string) string { return strings.Replace(shifted(n), "layers.0", "layers.", 1) }
	file := goldentest.Open(t, "taesd/taesd_decoder.safetensors")
	s := nn.Load("diffusers", goldentest.Renamed{Tensors: file, To: func(n string) string { return trimmed(n) }})
	p := Find(s)
	if !p.HasDecoder || p.Decoder != "decoder.layers" {
		t.Fatalf("%+v", p)
	}
	c, err := NewDecoder(s.At(p.Decoder))
	if err == nil {
		err = s.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.In != 4 || c.Out != 3 || c.Factor != 8 || len(c.modules) != 15 {
		t.Errorf("%d to %d channels, factor %d, %d modules", c.In, c.Out, c.Factor, len(c.modules))
	}
}

// TestThatIsNone checks what is said of weights that are no coder's.
func TestThatIsNone(t *testing.T) {
	file := goldentest.Open(t, "gan/in.safetensors")
	s := nn.Load("x", file)
	if p := Find(s); p.HasEncoder || p.HasDecoder {
		t.Errorf("found %+v", p)
	}
	if _, err := NewDecoder(s); err == nil || !strings.Contains(err.Error(), "not a tiny autoencoder") {
		t.Errorf("gives %v", err)
	}
}
