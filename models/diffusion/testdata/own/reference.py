"""Writes the reference values in this folder, with numpy in float64: python3 reference.py.

The samplers are written out as the published equations (Karras et al. 2022; Lu et al. 2022; Song et al. 2021; the
ancestral and multistep forms as k-diffusion defines them), on x = x0 + sigma*eps unless said otherwise, and not in
the form that the program computes them in. The "model" is a fixed smooth function that is no ideal denoiser.
torch.safetensors holds numbers of torch.randn itself.
"""
import json, struct
import numpy as np

def save(name, tensors):
    header, data = {}, b""
    for k, v in tensors.items():
        v = np.ascontiguousarray(v, dtype="<f4")
        header[k] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [len(data), len(data) + v.nbytes]}
        data += v.tobytes()
    h = json.dumps(header).encode()
    open(name + ".safetensors", "wb").write(struct.pack("<Q", len(h)) + h + data)

SHAPE = (1, 2, 4, 4)

def training(zero_snr=False):
    betas = np.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000) ** 2
    bar = np.cumprod(1 - betas)
    if zero_snr:
        s = np.sqrt(bar)
        s = (s - s[-1]) * s[0] / (s[0] - s[-1])
        bar = s ** 2
    return bar

def sigmas_of(bar):
    b = np.maximum(bar, 2.0 ** -24)
    return np.sqrt((1 - b) / b)

def spaced(spacing, n, offset=1):
    if spacing == "leading":
        return (np.arange(n) * (1000 // n))[::-1] + float(offset)
    if spacing == "trailing":
        return np.round(np.arange(1000, 0, -1000 / n))[:n] - 1
    return np.linspace(0, 999, n)[::-1]

def t_of(sig, sigma):
    return np.interp(np.log(sigma), np.log(sig), np.arange(1000))

def schedule(kind, sig, spacing, n):
    t = spaced(spacing, n)
    s = np.interp(t, np.arange(1000), sig)
    lo, hi = s[-1], s[0]
    ramp = np.linspace(0, 1, n)
    if kind == "karras":
        s = (hi ** (1 / 7) + ramp * (lo ** (1 / 7) - hi ** (1 / 7))) ** 7
    elif kind == "exponential":
        s = np.exp(np.linspace(np.log(hi), np.log(lo), n))
    elif kind == "linear_quadratic":
        half = n // 2
        line = [i * 0.025 / half for i in range(half)]
        diff, rest = half - 0.025 * n, n - half
        q, l = diff / (half * rest ** 2), 0.025 / half - 2 * diff / rest ** 2
        s = (1 - np.array(line + [q * i * i + l * i + q * half ** 2 for i in range(half, n)])) * sig[-1]
    return np.append(s, 0.0)

class Run:
    """One run: records what the model saw and said, and x after every call."""
    def __init__(self, seed, sig, prediction):
        self.rng = np.random.default_rng(seed)
        self.sig, self.prediction = sig, prediction
        self.out = {"latents": self.rng.standard_normal(SHAPE)}
        self.calls, self.draws, self.timesteps, self.levels = 0, 0, [], []
        self.whole = False  # the timesteps of even calls are rounded
        self.weight = self.rng.standard_normal((32, 32)) / 6

    def noise(self):
        z = self.rng.standard_normal(SHAPE).astype("f4").astype("f8")
        self.out["noise%02d" % self.draws] = z
        self.draws += 1
        return z

    def answer(self, x_in, t):
        y = np.tanh(self.weight @ x_in.reshape(-1)).reshape(SHAPE) + 0.8 * x_in * (t / 1000) + 0.1 * np.sin(t / 50)
        return y.astype("f4").astype("f8")

    def denoised(self, x, sigma, t=None):
        """The picture predicted from x = x0 + sigma*eps."""
        t = t_of(self.sig, sigma) if t is None else t
        t = np.round(t) if self.whole and self.calls % 2 == 0 else t
        scaled = x / np.sqrt(sigma ** 2 + 1)
        o = self.answer(scaled, t)
        self.record(scaled, o, t, sigma)
        if self.prediction == "v_prediction":
            return x / (sigma ** 2 + 1) - sigma / np.sqrt(sigma ** 2 + 1) * o
        return x - sigma * o

    def record(self, model_input, o, t, sigma):
        p = "step%02d." % self.calls
        self.out[p + "model_input"], self.out[p + "noise_pred"] = model_input, o
        self.timesteps.append(t)
        self.levels.append(sigma)
        self.calls += 1

    def after(self, x):
        self.out["step%02d.latents" % (self.calls - 1)] = x

def ancestral(a, b, eta=1.0):
    up = min(b, eta * np.sqrt(b ** 2 * (a ** 2 - b ** 2) / a ** 2))
    return np.sqrt(b ** 2 - up ** 2), up

def dpm_2(r, x, s):
    for a, b in zip(s, s[1:]):
        d = (x - r.denoised(x, a)) / a
        if b == 0:
            x = x + d * (b - a); r.after(x); continue
        mid = np.exp((np.log(a) + np.log(b)) / 2)
        y = x + d * (mid - a); r.after(y)
        x = x + (y - r.denoised(y, mid)) / mid * (b - a); r.after(x)

def dpm_2_ancestral(r, x, s, eta=1.0):
    for a, b in zip(s, s[1:]):
        d = (x - r.denoised(x, a)) / a
        down, up = ancestral(a, b, eta)
        if down == 0:
            x = x + d * (down - a); r.after(x); continue
        mid = np.exp((np.log(a) + np.log(down)) / 2)
        y = x + d * (mid - a); r.after(y)
        x = x + (y - r.denoised(y, mid)) / mid * (down - a) + r.noise() * up; r.after(x)

def lms(r, x, s):
    ds = []
    for i in range(len(s) - 1):
        ds = [(x - r.denoised(x, s[i])) / s[i]] + ds[:3]
        for j, d in enumerate(ds):
            poly = np.poly1d([1.0])
            for k in range(len(ds)):
                if k != j:
                    poly = poly * np.poly1d([1.0, -s[i - k]]) / (s[i - j] - s[i - k])
            q = poly.integ()
            x = x + (q(s[i + 1]) - q(s[i])) * d
        r.after(x)

def dpmpp_2s_ancestral(r, x, s, eta=1.0):
    for a, b in zip(s, s[1:]):
        x0 = r.denoised(x, a)
        down, up = ancestral(a, b, eta)
        if down == 0:
            x = x + (x - x0) / a * (down - a); r.after(x); continue
        t, tn = -np.log(a), -np.log(down)
        h = tn - t
        m = t + h / 2
        y = np.exp(-m) / np.exp(-t) * x - np.expm1(-h / 2) * x0; r.after(y)
        x = np.exp(-tn) / np.exp(-t) * x - np.expm1(-h) * r.denoised(y, np.exp(-m)) + r.noise() * up; r.after(x)

def dpmpp_sde(r, x, s, eta=1.0):
    for a, b in zip(s, s[1:]):
        x0 = r.denoised(x, a)
        if b == 0:
            x = x + (x - x0) / a * (b - a); r.after(x); continue
        t = -np.log(a)
        mid = np.exp(-(t + (-np.log(b) - t) / 2))
        down, up = ancestral(a, mid, eta)
        y = down / a * x - np.expm1(t + np.log(down)) * x0 + r.noise() * up; r.after(y)
        down, up = ancestral(a, b, eta)
        x = down / a * x - np.expm1(t + np.log(down)) * r.denoised(y, mid) + r.noise() * up; r.after(x)

def dpmpp_3m_sde(r, x, s, eta=1.0):
    old = []
    for a, b in zip(s, s[1:]):
        x0 = r.denoised(x, a)
        if b == 0:
            x = x0; r.after(x); continue
        h = np.log(a) - np.log(b)
        he = h * (eta + 1)
        x = np.exp(-he) * x - np.expm1(-he) * x0
        if len(old) == 2:
            r0, r1 = old[0][1] / h, old[1][1] / h
            d10, d11 = (x0 - old[0][0]) / r0, (old[0][0] - old[1][0]) / r1
            d1, d2 = d10 + (d10 - d11) * r0 / (r0 + r1), (d10 - d11) / (r0 + r1)
            p2 = np.expm1(-he) / he + 1
            x = x + p2 * d1 - (p2 / he - 0.5) * d2
        elif old:
            x = x + (np.expm1(-he) / he + 1) * (x0 - old[0][0]) / (old[0][1] / h)
        x = x + r.noise() * b * np.sqrt(-np.expm1(-2 * h * eta)); r.after(x)
        old = [(x0, h)] + old[:1]

def euler(r, x, s):
    for a, b in zip(s, s[1:]):
        x = x + (x - r.denoised(x, a)) / a * (b - a); r.after(x)

def euler_ancestral(r, x, s, eta=1.0):
    for a, b in zip(s, s[1:]):
        x0 = r.denoised(x, a)
        down, up = ancestral(a, b, eta)
        x = x + (x - x0) / a * (down - a) + r.noise() * up; r.after(x)

def dpmpp_2m_sde(r, x, s, ts, eta=1.0, heun=False):
    """On x = alpha*x0 + sigma*eps, alpha^2 + sigma^2 = 1."""
    old = None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        al, sg = 1 / np.sqrt(a * a + 1), a / np.sqrt(a * a + 1)
        o = r.answer(x, ts[i]); r.record(x, o, ts[i], a)
        x0 = (x - sg * o) / al
        if b == 0:
            x = x0; r.after(x); continue
        be, sb = 1 / np.sqrt(b * b + 1), b / np.sqrt(b * b + 1)
        h = np.log(be / sb) - np.log(al / sg)
        x = sb / sg * np.exp(-h * eta) * x + be * (1 - np.exp(-h * (1 + eta))) * x0
        if old is not None and i + 2 <= len(s) - 1:
            d1 = (x0 - old[0]) * h / old[1]
            hh = h * (1 + eta)
            x = x + (be * ((1 - np.exp(-hh)) / -hh + 1) if heun else 0.5 * be * (1 - np.exp(-hh))) * d1
        if eta > 0:
            x = x + sb * np.sqrt(1 - np.exp(-2 * h * eta)) * r.noise()
        r.after(x)
        old = (x0, h)

def ddim(r, x, bar, ts, prevs, final, eta):
    for t, p in zip(ts, prevs):
        a, b = bar[t], (bar[p] if p >= 0 else final)
        o = r.answer(x, float(t)); r.record(x, o, float(t), np.sqrt((1 - max(a, 2. ** -24)) / max(a, 2. ** -24)))
        if r.prediction == "v_prediction":
            x0, e = np.sqrt(a) * x - np.sqrt(1 - a) * o, np.sqrt(a) * o + np.sqrt(1 - a) * x
        else:
            x0, e = (x - np.sqrt(1 - a) * o) / np.sqrt(a), o
        std = eta * np.sqrt((1 - b) / (1 - a) * (1 - a / b))
        x = np.sqrt(b) * x0 + np.sqrt(1 - b - std ** 2) * e
        if eta > 0:
            x = x + std * r.noise()
        r.after(x)

cases = []
def case(name, sampler, kind, spacing, n, prediction="epsilon", eta=None, zero_snr=False):
    bar = training(zero_snr)
    sig = sigmas_of(bar)
    r = Run(len(cases) + 1, sig, prediction)
    r.out["latents"] = r.out["latents"].astype("f4").astype("f8")
    x = r.out["latents"]
    kw = {} if eta is None else {"eta": eta}
    if sampler == "ddim":
        ts = spaced(spacing, n).astype(int)
        ddim(r, x, bar, ts, ts - 1000 // n, bar[0], eta or 0.0)
    elif sampler.startswith("dpmpp_2m_sde"):
        # As diffusers spaces them: one step more and the last dropped; karras spans the trained levels.
        ts = (np.arange(n + 1) * (1000 // (n + 1)))[::-1][:-1] + 1.0
        s = np.append(np.interp(ts, np.arange(1000), sig), 0.0)
        if kind == "karras":
            ramp = np.linspace(0, 1, n)
            s = np.append((sig[-1] ** (1 / 7) + ramp * (sig[0] ** (1 / 7) - sig[-1] ** (1 / 7))) ** 7, 0.0)
            ts = np.round(t_of(sig, s[:-1]))
        dpmpp_2m_sde(r, x, s, ts, heun=sampler.endswith("heun"), **kw)
    else:
        s = schedule(kind, sig, spacing, n)
        if sampler.startswith("dpm_2") and kind == "karras":  # as diffusers has it
            r.whole = True
        x = x * (np.sqrt(s[0] ** 2 + 1) if spacing == "leading" else s[0])
        globals()[sampler](r, x, s, **kw)
    r.out["timesteps"], r.out["sigmas"] = np.array(r.timesteps), np.array(r.levels)
    save(name, r.out)
    cases.append({"name": name, "sampler": sampler, "schedule": kind, "steps": n, "eta": eta, "config": {
        "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "prediction_type": prediction, "timestep_spacing": spacing, "steps_offset": 1,
        "set_alpha_to_one": False, "clip_sample": False, "rescale_betas_zero_snr": zero_snr}})

case("dpm_2", "dpm_2", "normal", "leading", 5)
case("dpm_2_karras", "dpm_2", "karras", "linspace", 4, "v_prediction")
case("dpm_2_ancestral_karras", "dpm_2_ancestral", "karras", "leading", 4)
case("dpm_2_ancestral", "dpm_2_ancestral", "normal", "leading", 4)
case("dpm_2_ancestral_eta", "dpm_2_ancestral", "exponential", "trailing", 4, eta=0.6)
case("lms", "lms", "normal", "leading", 7)
case("lms_karras", "lms", "karras", "linspace", 7)
case("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", "karras", "linspace", 5)
case("dpmpp_2s_ancestral_v", "dpmpp_2s_ancestral", "normal", "trailing", 4, "v_prediction", eta=0.5)
case("dpmpp_sde", "dpmpp_sde", "karras", "linspace", 4)
case("dpmpp_sde_eta", "dpmpp_sde", "normal", "leading", 4, eta=0.3)
case("dpmpp_2m_sde", "dpmpp_2m_sde", "normal", "leading", 6)
case("dpmpp_2m_sde_karras", "dpmpp_2m_sde", "karras", "leading", 6)
case("dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun", "karras", "leading", 6, eta=0.7)
case("dpmpp_3m_sde", "dpmpp_3m_sde", "exponential", "linspace", 7)
case("dpmpp_3m_sde_eta", "dpmpp_3m_sde", "karras", "leading", 6, "v_prediction", eta=0.5)
case("euler_linear_quadratic", "euler", "linear_quadratic", "linspace", 7)
case("euler_ancestral_eta", "euler_ancestral", "normal", "leading", 5, eta=0.4)
case("ddim_eta", "ddim", "normal", "leading", 6, eta=0.5)
case("ddim_eta_one", "ddim", "normal", "trailing", 5, "v_prediction", eta=1.0)
case("ddim_zero_snr", "ddim", "normal", "trailing", 5, "v_prediction", zero_snr=True)
case("euler_zero_snr", "euler", "normal", "trailing", 5, "v_prediction", zero_snr=True)
json.dump(cases, open("cases.json", "w"), indent=1)

try:
    import torch
    out = {}
    for seed in (0, 1, 42, 2 ** 32 + 5, 2 ** 64 - 1):
        g = torch.Generator("cpu")
        g.manual_seed(seed if seed < 2 ** 63 else seed - 2 ** 64)
        for k, n in enumerate((3, 2, 1, 16, 5, 20, 33, 64, 15, 2048)):
            out["%d.%d" % (seed, k)] = torch.randn(n, generator=g).numpy()
    save("torch", out)
except ImportError:
    pass
