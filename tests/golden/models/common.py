"""Shared by the scripts that make golden values: random weights, files, logits, sensitivities."""
import copy
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from transformers.core_model_loading import revert_weight_conversion

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4  # largest difference of a logit that an engine may show on the tiny models
MIN_STD = 0.7     # of the logits; smaller ones would make the tolerance meaningless
MIN_GAP = 1e-3    # between what a router keeps and what it drops; nearer ones could turn over with the order of a sum
MIN_GAP_OF_POSITIONS = 1e-4  # the same where an indexer chooses among positions, thousands of times a model
CHOOSES_ONLY = ("e_score_correction_bias", ".indexer.", "tid2eid")  # tensors that only choose: what of them shows is a feature
DERIVED = ("slope_rate", "query_decay", "key_decay", "diagonal_decay")  # MiniMax's: computed from the config
QUERY_GROWTH = ("llama_4_scaling_beta", "original_max_position_embeddings")  # stand among Ministral 3's rope parameters
OLD_TYPES = {"llama", "smollm3", "qwen2", "qwen3", "gemma3_text", "mistral"}  # rows from before routers and soft caps


class Unlucky(Exception):
    """Random weights that miss a demand which other random weights would meet."""


def demand(met, *what):
    if not met:
        raise Unlucky(*what)


def rng_for(name, seed=0):
    """A generator that depends on the name alone, so that adding a model leaves the others' weights as they are.

    A model whose router comes too near to a tie under its name takes the next `seed`.
    """
    text = f"{name}/{seed}" if seed else name
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def on_common_grid(values):
    """Rounds to BF16; magnitudes below 2^-14 become zero. F32, BF16 and F16 then all hold the very same values."""
    t = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(torch.bfloat16).to(torch.float32).numpy()
    return np.where(np.abs(t) < 2.0**-14, np.float32(0), t)


def random_tensor(rng, name, initial, gain, tied, inputs_first=False, experts=0):
    """Float32 values for the parameter `name`, at the scale that keeps activations and logits near one.

    `initial` is what transformers fills it with: a norm that starts at zero is one that adds one to its weight.
    `inputs_first`: stacked experts are stored [expert, inputs, outputs].
    """
    shape = tuple(initial.shape)
    if name.endswith("tid2eid"):  # the experts of every token of the vocabulary
        return np.stack([rng.permutation(experts)[: shape[1]] for _ in range(shape[0])])
    x = rng.standard_normal(shape).astype(np.float32)
    leaf = name.rsplit(".", 1)[-1]
    if len(shape) == 1 and "norm" in name and leaf == "weight":
        w = 1.0 + 0.25 * x
        return w - 1 if float(initial.abs().max()) == 0 else w
    if leaf == "e_score_correction_bias":
        return 0.2 * x
    if leaf == "A_log":
        return 0.7 * x - 1.5
    if leaf == "position_bias" and shape[0] > 64:
        return 2.0 * x  # of a mixture of so many tokens: smaller ones would hardly show
    if leaf.endswith("bias"):
        return 0.5 * x
    if len(shape) == 1:
        ones = float((initial - 1).abs().max()) == 0
        return (1.0 + 0.25 * x) * (np.sqrt(shape[0]) if name.endswith("router.scale") else 1.0) if ones else x
    if name.endswith("embed_tokens.weight"):
        return x * (gain / np.sqrt(shape[1])) if tied else x
    return x * (gain / np.sqrt(shape[-2] if inputs_first and len(shape) == 3 else shape[-1]))


FP4_LEVELS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def fp4_codes(values):
    """The nearest 4-bit floats of groups of 32 and the exponents of their scales: codes [..., n], exponents [..., n / 32]."""
    groups = np.asarray(values, np.float32).reshape(*values.shape[:-1], -1, 32)
    exponents = np.floor(np.log2(np.maximum(np.abs(groups).max(-1), 2.0**-20))) - 2
    scaled = groups / np.exp2(exponents)[..., None].astype(np.float32)
    codes = np.abs(np.abs(scaled)[..., None] - FP4_LEVELS).argmin(-1) + 8 * (scaled < 0)
    return codes.reshape(values.shape).astype(np.uint8), exponents


def on_fp4_grid(values):
    codes, exponents = fp4_codes(values)
    signed = FP4_LEVELS[codes & 7] * np.where(codes > 7, np.float32(-1), np.float32(1))
    return (signed.reshape(*exponents.shape, 32) * np.exp2(exponents)[..., None].astype(np.float32)).reshape(values.shape)


def fp4_tensors(name, values):
    """As a release stores them: two codes a byte, the first in the low half, beside the scales' exponents."""
    codes, exponents = fp4_codes(values)
    packed = torch.from_numpy(codes[..., ::2] | codes[..., 1::2] << 4)
    scales = torch.from_numpy((exponents + 127).astype(np.uint8))
    return {name: packed.view(torch.int8), name.replace(".weight", ".scale"): scales.view(torch.float8_e8m0fnu)}


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


def state_of(model):
    """Name -> tensor of everything a checkpoint stores of the model: parameters (a tied one once) and kept buffers."""
    kept = model.state_dict()
    buffers = {n: b for n, b in model.named_buffers() if n in kept and not n.endswith(DERIVED)}
    return {**{n: p.data for n, p in model.named_parameters()}, **buffers}


def only_chooses(name):
    return any(part in name for part in CHOOSES_ONLY)


def stored_places(model):
    """Stored tensor name -> the places of its elements in the concatenation of state_of(model), in stored shape.

    transformers keeps experts stacked and some matrices fused; a checkpoint holds them under other names. Its own
    reverse mapping tells which element goes where when it is given the elements' numbers instead of their values.
    """
    numbers, count = {}, 0
    for name, t in state_of(model).items():
        numbers[name] = torch.arange(count, count + t.numel()).view(t.shape)
        count += t.numel()
    released = getattr(model, "released_name", None) or (lambda name: name)
    # Kimi Linear's mapping would put dense layers under the name of the sparse ones, which releases do not.
    dense = re.compile(r"\.block_sparse_moe\.(gate|up|down)_proj\.")
    stored = {released(dense.sub(r".mlp.\1_proj.", n)): t.contiguous() for n, t in revert_weight_conversion(model, numbers).items()}
    assert sorted(i for t in stored.values() for i in t.flatten().tolist()) == list(range(count))
    return stored


def put_flat(model, flat):
    at = 0
    for t in state_of(model).values():
        t.copy_(flat[at: at + t.numel()].view(t.shape))
        at += t.numel()


@torch.no_grad()
def sensitivities(model, tokens, base):
    """For every stored tensor but those that only choose experts the largest change of a logit when (a) all of it, (b) every element of odd index grows by
    1 %.

    (a) is exactly cancelled where a norm follows (v, o, up, down of Gemma 3, q and k of Qwen3), hence (b).
    """
    table, last = {}, model.config.num_hidden_layers - 1  # a factor on all of its output ends in the last norm
    flat = torch.cat([t.flatten() for t in state_of(model).values()])
    choosing = torch.cat([torch.full((t.numel(),), only_chooses(n)) for n, t in state_of(model).items()])
    for name, places in stored_places(model).items():
        if choosing[places.flatten()[0]] or name.endswith(f"layers.{last}.layer_scalar"):
            continue
        row = []
        for part in (places.flatten(), places.flatten()[1::2]):
            changed = flat.clone()
            changed[part] *= 1.01
            put_flat(model, changed)
            row.append(float(f"{float((logits_of(model, tokens) - base).abs().max()):.3g}"))
        table[name] = row
    put_flat(model, flat)
    return table


@torch.no_grad()
def smallest_router_gap(model, tokens):
    """The smallest difference between the last score that a router keeps and the first that it drops."""
    gaps, topk, method = [math.inf], torch.topk, torch.Tensor.topk

    def watched(scores, k, *args, **kwargs):
        if k < scores.shape[-1]:
            ordered = scores.sort(dim=-1, descending=True).values
            gap = ordered[..., k - 1] - ordered[..., k]
            chosen = ordered[..., k - 1].abs() < 1e30  # not what a mask took out or a rule put in
            gaps.append(float(gap[chosen].min()) if chosen.any() else math.inf)
        return method(scores, k, *args, **kwargs)

    def watched_method(scores, k, *args, **kwargs):
        # Indexers call the method with the batch first; groups of experts, whose two best are only added, without it.
        return (watched if scores.shape[0] == 1 else method)(scores, k, *args, **kwargs)

    torch.topk, torch.Tensor.topk = watched, watched_method
    try:
        logits_of(model, tokens)
    finally:
        torch.topk, torch.Tensor.topk = topk, method
    return min(gaps)


def demand_router_gap(model, tokens):
    gap = smallest_router_gap(model, tokens)
    sparse = any(CHOOSES_ONLY[1] in n for n in state_of(model))
    demand(gap > (MIN_GAP_OF_POSITIONS if sparse else MIN_GAP), "router gap", gap)
    return gap


def config_variants(config):
    """Copies of the config in which one feature that an engine might overlook is switched off."""
    def variant(**changes):
        c = copy.deepcopy(config)
        for k, v in changes.items():
            setattr(c, k, v)
        return c

    layers = config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or []
    if "sliding_attention" in kinds and config.model_type in OLD_TYPES - {"gemma3_text"}:
        yield "no window", variant(layer_types=["full_attention"] * layers, sliding_window=None)
    elif getattr(config, "sliding_window", None):
        yield "no window", variant(sliding_window=1 << 20)
        yield "window one longer", variant(sliding_window=config.sliding_window + 1)
    for field, value in (("norm_topk_prob", not getattr(config, "norm_topk_prob", False)), ("routed_scaling_factor", 1.0),
                         ("final_logit_softcapping", None), ("attn_logit_softcapping", None), ("n_group", 1),
                         ("swiglu_limit", 1e9), ("index_topk", 1 << 20), ("index_topk_blocks", 1 << 20),
                         ("index_local_blocks", 0)):
        if config.model_type not in OLD_TYPES and getattr(config, field, value) != value:
            yield f"{field} {value}", variant(**{field: value}, **({"topk_group": 1} if field == "n_group" else {}))
    rope = getattr(config, "rope_parameters", None) or {}
    for key, part in rope.items() if "full_attention" in rope else [(None, rope)]:
        if part.get("rope_type", "default") != "default":
            plain = {"rope_type": "default", "rope_theta": part["rope_theta"],
                     **{k: part[k] for k in QUERY_GROWTH if "llama_4_scaling_beta" in part}}
            yield f"no {part['rope_type']} rope scaling", variant(rope_parameters={**rope, key: plain} if key else plain)
    if rope.get("llama_4_scaling_beta"):
        yield "no growth of queries", variant(rope_parameters={**rope, "llama_4_scaling_beta": 0.0})
    if "full_attention" in rope:
        yield "one rope base", variant(rope_parameters={**rope, "sliding_attention": rope["full_attention"]})
    if getattr(config, "no_rope_layers", None):
        yield "rope in every layer", variant(no_rope_layers=[1] * layers)


@torch.no_grad()
def features(model, tokens, base):
    """For each feature of config_variants the largest change of a logit when an engine would overlook it."""
    table = {}
    for label, config in config_variants(model.config):
        other = type(model)._from_config(config, attn_implementation="eager", experts_implementation="eager",
                                         dtype=torch.float32)
        other.load_state_dict(model.state_dict())
        change = float((logits_of(other, tokens) - base).abs().max())
        if change > 0:  # a field that the family does not have changes nothing
            table[label] = float(f"{change:.3g}")
    return {**table, **choosing_tensors(model, tokens, base)}


@torch.no_grad()
def choosing_tensors(model, tokens, base):
    """A small change of what only chooses moves no logit until a choice turns over: so its values in another order, or
    for a correction bias none at all."""
    table, state = {}, state_of(model)
    biases = [t for n, t in state.items() if n.endswith(CHOOSES_ONLY[0])]
    changes = {f"{n} reversed": [t] for n, t in state.items() if any(part in n for part in CHOOSES_ONLY[1:])}
    for label, tensors in {**({f"no {CHOOSES_ONLY[0]}": biases} if biases else {}), **changes}.items():
        kept = [t.clone() for t in tensors]
        for t in tensors:
            t.copy_(torch.zeros_like(t) if label.startswith("no ") else t.flatten().flip(0).view(t.shape))
        table[label] = float(f"{float((logits_of(model, tokens) - base).abs().max()):.3g}")
        for t, k in zip(tensors, kept):
            t.copy_(k)
    return table


def golden_row(model, tokens, name, tolerance=TOLERANCE):
    """Measures the model, checks the demands on it, writes logits/NAME.npy and returns the fields of its manifest row."""
    base = logits_of(model, tokens)
    assert base.dtype == torch.float32
    gap, std = demand_router_gap(model, tokens), float(base.std())
    demand(std >= MIN_STD, "standard deviation", std)
    exact = logits_of(model.double(), tokens)
    noise = float((base.double() - exact).abs().max())
    model.float()
    table = sensitivities(model, tokens, base)
    overlooked = features(model, tokens, base)
    weakest = min(max(v) for v in table.values())
    where = min(table, key=lambda k: max(table[k]))
    print(f"{name:18s} std {std:.2f}  max |logit| {float(base.abs().max()):5.1f}  float32 noise {noise:.1e}  "
          f"weakest 1% change {weakest:.1e} ({where})  "
          f"{f'router gap {gap:.1e}  ' if gap < math.inf else ''}{overlooked or ''}")
    demand(noise < tolerance / 5, "float32 noise", noise)
    demand(weakest > 10 * tolerance, "sensitivity", where, weakest)
    demand(all(v > 10 * tolerance for v in overlooked.values()), "features", overlooked)
    path = HERE / "logits" / f"{name}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, base.numpy())
    return dict(logits=f"logits/{name}.npy", tolerance=tolerance, logits_std=round(std, 3),
                float32_noise=float(f"{noise:.2g}"), features=overlooked, sensitivity=table)


def write_manifest(rows, order=()):
    """models.json holds all rows, one line for each field; rows of other scripts are kept, ours replaced by name.

    `order`: the names of the tiny models as the table has them.
    """
    path = HERE / "models.json"
    old = json.loads(path.read_text())["models"] if path.exists() else []
    names = {r["name"] for r in rows}
    merged = [r for r in old if r["name"] not in names] + rows
    kinds = {"tiny": 0, "quantised": 1}
    merged.sort(key=lambda r: (kinds[r["kind"]], order.index(r["name"]) if r["name"] in order else len(order)))
    lines = []
    for r in merged:
        fields = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in r.items())
        lines.append("  {\n" + fields + "\n  }")
    path.write_text('{"format": 1, "models": [\n' + ",\n".join(lines) + "\n]}\n")
