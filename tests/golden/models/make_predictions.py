"""Writes predictions.json: what the prediction layers (MTP) of tiny models predict, by transformers' decoder layers.

  python make_predictions.py

Of each model: for every token but the first, the layer reads [norm(embedding of the token) | norm(state before it)] through
one matrix, at positions 0, 1, …; the state is the model's behind its last norm. `rows`: the logits behind the last `ROWS` of them.
`chained`: those of one step further, which reads the likeliest token of the last row and the layer's own state behind its norm.
"""
import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek
from transformers.models.glm4_moe_lite import modeling_glm4_moe_lite as glm
from transformers.models.qwen3_next import modeling_qwen3_next as qwen

from common import HERE

TOKENS, ROWS = 24, 2


def rms(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def stacked(layer, prefix, stored):
    """The layer's parameters out of the stored tensors; experts in one parameter or one each."""
    for name, p in list(layer.named_parameters()) + list(layer.named_buffers()):
        if prefix + name in stored:
            value = stored[prefix + name]
        elif name.endswith("experts.gate_up_proj"):
            at = prefix + name.removesuffix("gate_up_proj")
            value = torch.stack([torch.cat([stored[f"{at}{e}.gate_proj.weight"], stored[f"{at}{e}.up_proj.weight"]])
                                 for e in range(p.shape[0])])
        elif name.endswith("experts.down_proj"):
            at = prefix + name.removesuffix("down_proj")
            value = torch.stack([stored[f"{at}{e}.down_proj.weight"] for e in range(p.shape[0])])
        else:
            sys.exit(f"{prefix}{name} is not stored")
        assert p.shape == value.shape, name
        p.data.copy_(value)


def predictions(name, make_layer, rotary, layer_prefix, ends, adds_one):
    folder = HERE / "hf" / name
    config = AutoConfig.from_pretrained(folder)
    config._attn_implementation = config._experts_implementation = "eager"
    stored = {n: w.double() for n, w in load_file(folder / "model.safetensors").items()}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager",
                                                 experts_implementation="eager").eval()
    layer = make_layer(config).double().eval()
    stacked(layer, layer_prefix, stored)
    rotate = rotary(config).double()
    enorm, hnorm, norm, joint = (stored[ends[k]] + (adds_one and k != "joint") for k in ("enorm", "hnorm", "norm", "joint"))
    embedding, head = stored["model.embed_tokens.weight"], stored["lm_head.weight"]
    row = next(r for r in json.loads((HERE / "models.json").read_text())["models"] if r["name"] == name)
    tokens = torch.tensor(row["tokens"][:TOKENS])
    eps = config.rms_norm_eps

    def predict(tokens, states):
        x = torch.cat([rms(embedding[tokens], enorm, eps), rms(states, hnorm, eps)], -1) @ joint.T
        n = len(tokens)
        positions = torch.arange(n)[None]
        mask = torch.full((n, n), float("-inf"), dtype=torch.float64).triu(1)[None, None]
        y = layer(x[None], attention_mask=mask, position_ids=positions, position_embeddings=rotate(x[None], positions))
        y = rms((y[0] if isinstance(y, tuple) else y)[0], norm, eps)
        return y, y @ head.T

    with torch.no_grad():
        states = model.model(tokens[None]).last_hidden_state[0]
        own, logits = predict(tokens[1:], states[:-1])
        guess = logits[-1].argmax()
        _, chained = predict(torch.cat([tokens[1:], guess[None]]), torch.cat([states[:-1], own[-1:]]))
    short = lambda values: [float(f"{v:.7g}") for v in values.tolist()]
    return {"name": name, "tokens": TOKENS, "rows": [short(r) for r in logits[-ROWS:]], "chained": short(chained[-1])}


def beside(prefix):
    return {"enorm": prefix + "enorm.weight", "hnorm": prefix + "hnorm.weight", "norm": prefix + "shared_head.norm.weight",
            "joint": prefix + "eh_proj.weight"}


def full_attention(config):
    layer = max(i for i, kind in enumerate(config.layer_types) if kind == "full_attention")
    return qwen.Qwen3NextDecoderLayer(config, layer)


QWEN = {"enorm": "mtp.pre_fc_norm_embedding.weight", "hnorm": "mtp.pre_fc_norm_hidden.weight", "norm": "mtp.norm.weight",
        "joint": "mtp.fc.weight"}


def main():
    rows = []
    for name, module, classes in (("deepseek-v3-mtp", deepseek, "DeepseekV3"), ("glm-flash-mtp", glm, "Glm4MoeLite")):
        last = AutoConfig.from_pretrained(HERE / "hf" / name).num_hidden_layers
        at = f"model.layers.{last}."
        make = lambda c, m=module, n=classes: getattr(m, n + "DecoderLayer")(c, c.num_hidden_layers - 1)
        rows.append(predictions(name, make, getattr(module, classes + "RotaryEmbedding"), at, beside(at), False))
    rows.append(predictions("qwen3-next-mtp", full_attention, qwen.Qwen3NextRotaryEmbedding, "mtp.layers.0.", QWEN, True))
    text = ",\n ".join(json.dumps(r, separators=(",", ":")) for r in rows)
    (HERE / "predictions.json").write_text(f"[{text}]\n")


main()
