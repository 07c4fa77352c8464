"""The GGUF twin of a Hugging Face model: names, keys and layouts as llama.cpp's converter writes them.

Differences to the folder it stands for: tensor names; rows of q and k of llama-type files reordered for neighbouring
rotation pairs; Gemma's norm weights with the one already added; the llama3 frequency rule as a tensor of divisors.
There is no tokenizer in these files: `kinglet logits --tokens` needs none.
"""
import math

import gguf
import numpy as np

ARCH = {"llama": "llama", "mistral": "llama", "smollm3": "smollm3", "qwen2": "qwen2", "qwen3": "qwen3",
        "gemma3_text": "gemma3"}
PERMUTED = {"llama", "smollm3"}  # architectures whose q and k rows are stored for neighbouring pairs

LAYER_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
GEMMA_LAYER_NAMES = {**LAYER_NAMES, "post_attention_layernorm": "post_attention_norm",
                     "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
TOP_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}


def gguf_name(name, arch):
    """The GGUF name of a Hugging Face parameter."""
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    stem, kind = rest.rsplit(".", 1)
    table = GEMMA_LAYER_NAMES if arch == "gemma3" else LAYER_NAMES
    return f"blk.{layer}.{table[stem]}.{kind}"


def to_pairs(w, heads):
    """Rows of each head from (first half, second half) to (pair 0, pair 1, ...)."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def to_halves(w, heads):
    """The inverse of to_pairs."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def head_count(name, config):
    """For a q or k projection the number of its heads, otherwise None."""
    if ".q_proj." in name:
        return config.num_attention_heads
    if ".k_proj." in name:
        return config.num_key_value_heads
    return None


def head_dim(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def llama3_divisors(rope, dim):
    """What each rotation frequency is divided by under the `llama3` rule."""
    out = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / dim)
        original = rope["original_max_position_embeddings"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = min(1.0, max(0.0, (original / wavelength - low) / (high - low)))
        out.append(1.0 / ((1.0 - smooth) / rope["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def write_keys(writer, arch, config, explicit_head_dim):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if explicit_head_dim:
        writer.add_key_length(head_dim(config))
        writer.add_value_length(head_dim(config))
    if arch in PERMUTED:
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim(config))
    if arch == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    return rope


def write_gguf(row, config, weights, path):
    """Writes `weights` (parameter name -> float32 array of the Hugging Face model) as GGUF."""
    arch = ARCH[config.model_type]
    path.parent.mkdir(exist_ok=True)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(row["name"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if row["gguf"] == "F16" else gguf.LlamaFileType.ALL_F32)
    rope = write_keys(writer, arch, config, "head_dim" in row["config"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(rope, head_dim(config)))
    for name, w in weights.items():
        heads = head_count(name, config)
        if heads and arch in PERMUTED:
            w = to_pairs(w, heads)
        if arch == "gemma3" and name.endswith("norm.weight"):
            w = w + np.float32(1)
        half = row["gguf"] == "F16" and w.ndim == 2
        stored = w.astype(np.float16) if half else w.astype(np.float32)
        assert np.array_equal(stored.astype(np.float32), w), name
        writer.add_tensor(gguf_name(name, arch), np.ascontiguousarray(stored))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
