"""Shared by the scripts that make golden values: random weights, files, logits, sensitivities."""
import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4  # largest difference of a logit that an engine may show on the tiny models
MIN_STD = 0.7     # of the logits; smaller ones would make the tolerance meaningless


def rng_for(name):
    """A generator that depends on the name alone, so that adding a model leaves the others' weights as they are."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def on_common_grid(values):
    """Rounds to BF16; magnitudes below 2^-14 become zero. F32, BF16 and F16 then all hold the very same values."""
    t = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(torch.bfloat16).to(torch.float32).numpy()
    return np.where(np.abs(t) < 2.0**-14, np.float32(0), t)


def random_tensor(rng, name, shape, gain, tied):
    """Float32 values for the parameter `name`, at the scale that keeps activations and logits near one."""
    x = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("norm.weight"):
        return 1.0 + 0.25 * x
    if name.endswith(".bias"):
        return 0.5 * x
    if name.endswith("embed_tokens.weight"):
        return x * (gain / np.sqrt(shape[1])) if tied else x
    return x * (gain / np.sqrt(shape[1]))


def random_tokens(rng, vocab, count):
    """Token ids with repetitions (a passage comes back), so that attention has something to find."""
    ids = rng.integers(0, vocab, count)
    half = count // 4
    ids[count // 2: count // 2 + half] = ids[:half]
    return [int(i) for i in ids]


@torch.no_grad()
def logits_of(model, tokens):
    """[tokens, vocabulary] in one pass without a cache, in the model's own type."""
    model.eval()
    ids = torch.tensor([tokens], dtype=torch.long)
    return model(input_ids=ids, use_cache=False).logits[0].detach().clone()


@torch.no_grad()
def sensitivities(model, tokens, base):
    """For every parameter the largest change of a logit when (a) all of it, (b) every element of odd index grows by 1 %.

    (a) is exactly cancelled where a norm follows (v, o, up, down of Gemma 3, q and k of Qwen3), hence (b).
    """
    table = {}
    for name, p in model.named_parameters():
        flat = p.data.view(-1)
        saved = flat.clone()
        flat.mul_(1.01)
        whole = float((logits_of(model, tokens) - base).abs().max())
        flat.copy_(saved)
        flat[1::2].mul_(1.01)
        odd = float((logits_of(model, tokens) - base).abs().max())
        flat.copy_(saved)
        table[name] = [float(f"{whole:.3g}"), float(f"{odd:.3g}")]
    return table


def config_variants(config):
    """Copies of the config in which one feature that an engine might overlook is switched off."""
    def variant(**changes):
        c = copy.deepcopy(config)
        for k, v in changes.items():
            setattr(c, k, v)
        return c

    layers = config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or []
    if "sliding_attention" in kinds and config.model_type != "gemma3_text":
        yield "no window", variant(layer_types=["full_attention"] * layers, sliding_window=None)
    elif getattr(config, "sliding_window", None):
        yield "no window", variant(sliding_window=1 << 20)
        yield "window one longer", variant(sliding_window=config.sliding_window + 1)
    rope = config.rope_parameters
    for key, part in rope.items() if "full_attention" in rope else [(None, rope)]:
        if part["rope_type"] != "default":
            plain = {"rope_type": "default", "rope_theta": part["rope_theta"]}
            yield f"no {part['rope_type']} rope scaling", variant(rope_parameters={**rope, key: plain} if key else plain)
    if "full_attention" in rope:
        yield "one rope base", variant(rope_parameters={**rope, "sliding_attention": rope["full_attention"]})
    if getattr(config, "no_rope_layers", None):
        yield "rope in every layer", variant(no_rope_layers=[1] * layers)


@torch.no_grad()
def features(model, tokens, base):
    """For each feature of config_variants the largest change of a logit when an engine would overlook it."""
    table = {}
    for label, config in config_variants(model.config):
        other = type(model)._from_config(config, attn_implementation="eager", dtype=torch.float32)
        other.load_state_dict(model.state_dict())
        table[label] = float(f"{float((logits_of(other, tokens) - base).abs().max()):.3g}")
    return table


def golden_row(model, tokens, name, tolerance=TOLERANCE):
    """Measures the model, checks the demands on it, writes logits/NAME.npy and returns the fields of its manifest row."""
    base = logits_of(model, tokens)
    assert base.dtype == torch.float32
    exact = logits_of(model.double(), tokens)
    noise = float((base.double() - exact).abs().max())
    model.float()
    table = sensitivities(model, tokens, base)
    overlooked = features(model, tokens, base)
    std = float(base.std())
    weakest = min(max(v) for v in table.values())
    where = min(table, key=lambda k: max(table[k]))
    print(f"{name:18s} std {std:.2f}  max |logit| {float(base.abs().max()):5.1f}  float32 noise {noise:.1e}  "
          f"weakest 1% change {weakest:.1e} ({where})  {overlooked or ''}")
    assert std >= MIN_STD, (name, std)
    assert noise < tolerance / 5, (name, noise)
    assert weakest > 10 * tolerance, (name, where, weakest)
    assert all(v > 10 * tolerance for v in overlooked.values()), (name, overlooked)
    path = HERE / "logits" / f"{name}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, base.numpy())
    return dict(logits=f"logits/{name}.npy", tolerance=tolerance, logits_std=round(std, 3),
                float32_noise=float(f"{noise:.2g}"), features=overlooked, sensitivity=table)


def write_manifest(rows):
    """models.json holds all rows, one line for each field; rows of other scripts are kept, ours replaced by name."""
    path = HERE / "models.json"
    old = json.loads(path.read_text())["models"] if path.exists() else []
    names = {r["name"] for r in rows}
    merged = [r for r in old if r["name"] not in names] + rows
    order = {"tiny": 0, "quantised": 1}
    merged.sort(key=lambda r: order[r["kind"]])
    lines = []
    for r in merged:
        fields = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in r.items())
        lines.append("  {\n" + fields + "\n  }")
    path.write_text('{"format": 1, "models": [\n' + ",\n".join(lines) + "\n]}\n")
