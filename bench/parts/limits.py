"""How much of the machine a speed uses: the bytes and operations that a token needs, against what `kinglet bench --limits`
measured. Attention's own operations are left out, so that a prompt's share is a little below the truth."""
import math

from .gguf_io import Header
from .shapes import RANDOM

FLOATS = ("F32", "F16", "BF16")


def parameters_used(path):
    """Weights that a token is multiplied with: "int8" and "float" those of the layers, of experts only the chosen; "head" the
    output matrix, which a prompt wants for its last position alone."""
    header = Header(path)
    architecture = header.keys["general.architecture"]
    experts, used = (header.keys.get(f"{architecture}.expert_{what}", 0) for what in ("count", "used_count"))
    counts, heads = {"int8": 0, "float": 0}, {}
    for name, kind, shape in header.tensors:
        if len(shape) < 2 or not name.endswith(".weight"):
            continue
        count = math.prod(shape)
        if "_exps" in name and experts:
            count = count * used // experts
        if name.startswith("blk."):
            counts["float" if kind in FLOATS else "int8"] += count
        else:
            heads[name] = count
    return {**counts, "head": heads.get("output.weight", heads.get("token_embd.weight", 0))}


def is_random(path):
    return Header(path).keys.get("general.description") == RANDOM


def share(work, speed, limits, parameters, weight_bytes, kv_bytes):
    """{"share": of the limit, "limit": tok/s, "of": what bounds it}, or None where no single bound is meant (batches).
    `kv_bytes`: of a position; all layers are taken to read all positions."""
    if work["kind"] == "prompt" and work["depth"] == 0:
        seconds = 2e-9 * (parameters["int8"] / limits["int8_gop_per_second"] + parameters["float"] / limits["float_gflop_per_second"])
        bound = "float peak" if parameters["float"] > parameters["int8"] else "int8 peak"
    elif work["kind"] == "generation" and work["batch"] == 1:
        read = weight_bytes + kv_bytes * (work["depth"] + work["tokens"] / 2)
        seconds, bound = read / (limits["read_gb_per_second"] * 1e9), "read bandwidth"
    else:
        return None
    return {"share": speed * seconds, "limit": 1 / seconds, "of": bound}
