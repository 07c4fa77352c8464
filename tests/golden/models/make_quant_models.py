"""Writes three random models whose matrices are quantised in as many ways as two layers can hold, and their golden logits.

Types that gguf-py can quantise get quantised normal numbers; for the others the blocks are random bytes with block
scales that put the values at the wanted standard deviation and mean zero.
"""
import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from transformers.utils import logging

from common import HERE, golden_row, random_tokens, rng_for, write_manifest
from hf_from_gguf import load_gguf

HIDDEN, FEED, VOCABULARY, HEADS, KV_HEADS, TOKENS = 256, 512, 320, 8, 2, 64

# Per layer the types of q, k, v, output, gate, up, down.
MODELS = [
    dict(name="quant-common", family="llama", arch="llama", head_dim=32, embd=Q.Q8_0, output=Q.Q6_K,
         layers=[[Q.Q4_K, Q.Q4_K, Q.Q6_K, Q.Q5_K, Q.Q4_K, Q.Q5_K, Q.Q6_K],
                 [Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q4_0, Q.Q5_0, Q.Q4_K]]),
    dict(name="quant-rare", family="qwen3", arch="qwen3", head_dim=64, embd=Q.Q5_1, output=None,
         layers=[[Q.Q2_K, Q.Q3_K, Q.IQ4_NL, Q.IQ4_XS, Q.Q5_1, Q.BF16, Q.F16],
                 [Q.IQ4_NL, Q.Q5_1, Q.Q3_K, Q.Q2_K, Q.IQ4_XS, Q.Q3_K, Q.Q2_K]]),
    dict(name="quant-grids", family="qwen3", arch="qwen3", head_dim=64, embd=Q.Q3_K, output=None, feed=256,
         layers=[[Q.IQ2_XXS, Q.IQ3_XXS, Q.IQ3_S, Q.IQ2_S, Q.IQ1_S, Q.TQ2_0, Q.IQ2_XS],
                 [Q.TQ1_0, Q.IQ1_M, Q.IQ2_XS, Q.IQ3_S, Q.IQ2_XXS, Q.IQ1_M, Q.IQ3_XXS]]),
]

# Where a block of random bytes keeps its float16 scale, and (offset, ratio) of the minimum that centres the values.
RANDOM_BLOCKS = {
    Q.Q2_K: dict(scale=80, minimum=(82, 1.5)), Q.Q3_K: dict(scale=108), Q.Q4_K: dict(scale=0, minimum=(2, 7.5)),
    Q.Q5_K: dict(scale=0, minimum=(2, 15.5)), Q.Q6_K: dict(scale=208, signed_scales=slice(192, 208)),
    Q.IQ4_NL: dict(scale=0), Q.IQ4_XS: dict(scale=0), Q.TQ1_0: dict(scale=52), Q.TQ2_0: dict(scale=64),
    Q.IQ1_S: dict(scale=0), Q.IQ2_XXS: dict(scale=0), Q.IQ2_XS: dict(scale=0), Q.IQ2_S: dict(scale=0),
    Q.IQ3_XXS: dict(scale=0), Q.IQ3_S: dict(scale=0),
    Q.IQ1_M: dict(scale=None),  # in the top nibbles of the last four words
}


def random_blocks(rng, qtype, rows, columns, std):
    """uint8 [rows, bytes of a row] of type `qtype` whose values have standard deviation about `std`."""
    layout = RANDOM_BLOCKS[qtype]
    per_block, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = rng.integers(0, 256, (rows * columns // per_block, size), dtype=np.uint8)
    if "signed_scales" in layout:
        blocks[:, layout["signed_scales"]] = rng.integers(-32, 33, (len(blocks), 16)).astype(np.int8).view(np.uint8)

    if qtype == Q.TQ2_0:  # no fourth code, so that the mean is zero
        codes = rng.integers(0, 3, (len(blocks), 64, 4), dtype=np.uint8)
        blocks[:, :64] = codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6

    def put(offset, values):
        if offset is None:
            bits = values.astype(np.float16).view(np.uint16)
            for i in range(4):
                top = blocks[:, 49 + 2 * i]
                top[:] = (top & 15) | ((bits >> 4 * i & 15) << 4).astype(np.uint8)
            return
        blocks[:, offset:offset + 2] = values.astype(np.float16).reshape(-1, 1).view(np.uint8)

    def set_scales(scale):
        put(layout["scale"], scale)
        if "minimum" in layout:
            offset, ratio = layout["minimum"]
            put(offset, scale * ratio)

    set_scales(np.ones(len(blocks)))
    unit = gguf.dequantize(blocks, qtype).std()
    set_scales(std / unit * rng.uniform(0.7, 1.3, len(blocks)))
    return blocks.reshape(rows, -1)


def matrix(rng, qtype, rows, columns, std):
    """The bytes of a random matrix as GGUFWriter takes them."""
    if qtype in RANDOM_BLOCKS:
        return random_blocks(rng, qtype, rows, columns, std)
    values = (rng.standard_normal((rows, columns)) * std).astype(np.float32)
    return gguf.quantize(values, qtype)


def write_model(spec, path):
    rng = rng_for(spec["name"])
    arch, dim = spec["arch"], spec["head_dim"]
    heads, kv, feed = HEADS * 32 // dim, KV_HEADS, spec.get("feed", FEED)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(spec["name"])
    writer.add_block_count(len(spec["layers"]))
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    if arch == "llama":
        writer.add_vocab_size(VOCABULARY)
        writer.add_rope_dimension_count(dim)

    def add(name, qtype, rows, columns, gain=1.5):
        data = matrix(rng, qtype, rows, columns, gain / np.sqrt(columns))
        writer.add_tensor(name, data, raw_dtype=qtype)

    def norm(name, n):
        writer.add_tensor(name, (1 + 0.25 * rng.standard_normal(n)).astype(np.float32))

    add("token_embd.weight", spec["embd"], VOCABULARY, HIDDEN)
    norm("output_norm.weight", HIDDEN)
    if spec["output"] is not None:
        add("output.weight", spec["output"], VOCABULARY, HIDDEN)
    for i, (q, k, v, o, gate, up, down) in enumerate(spec["layers"]):
        norm(f"blk.{i}.attn_norm.weight", HIDDEN)
        norm(f"blk.{i}.ffn_norm.weight", HIDDEN)
        add(f"blk.{i}.attn_q.weight", q, heads * dim, HIDDEN)
        add(f"blk.{i}.attn_k.weight", k, kv * dim, HIDDEN)
        add(f"blk.{i}.attn_v.weight", v, kv * dim, HIDDEN)
        add(f"blk.{i}.attn_output.weight", o, HIDDEN, heads * dim)
        if arch == "qwen3":
            norm(f"blk.{i}.attn_q_norm.weight", dim)
            norm(f"blk.{i}.attn_k_norm.weight", dim)
        add(f"blk.{i}.ffn_gate.weight", gate, feed, HIDDEN)
        add(f"blk.{i}.ffn_up.weight", up, feed, HIDDEN)
        add(f"blk.{i}.ffn_down.weight", down, HIDDEN, feed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return random_tokens(rng, VOCABULARY, TOKENS)


def make(spec):
    path = HERE / "gguf" / f"{spec['name']}.gguf"
    path.parent.mkdir(exist_ok=True)
    tokens = write_model(spec, path)
    model, _ = load_gguf(path)
    kinds = sorted({t.tensor_type.name for t in gguf.GGUFReader(path).tensors})
    row = dict(name=spec["name"], kind="quantised", family=spec["family"], folder=None, gguf=f"gguf/{path.name}",
               weights=" ".join(kinds), vocabulary=VOCABULARY, tokens=tokens)
    row.update(golden_row(model, tokens, spec["name"]))
    return row


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    write_manifest([make(spec) for spec in MODELS])
