"""A transformers model in float32 from a GGUF file, its weights widened by gguf-py: the oracle for quantised files."""
import gguf
import numpy as np
import torch
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

from make_gguf import PERMUTED, gguf_name, head_count, to_halves

CLASSES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM),
           "qwen3": (Qwen3Config, Qwen3ForCausalLM), "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM)}


def read_metadata(reader):
    return {k: f.contents() for k, f in reader.fields.items()}


def make_config(arch, meta, vocabulary, tied):
    """The config of a plain file of this architecture; scaling keys are refused, no file here has any."""
    assert not [k for k in meta if "rope.scaling" in k], "rope scaling is not handled"
    def key(name, default=None):
        return meta.get(f"{arch}.{name}", default)

    heads, hidden = key("attention.head_count"), key("embedding_length")
    common = dict(hidden_size=hidden, num_hidden_layers=key("block_count"), intermediate_size=key("feed_forward_length"),
                  num_attention_heads=heads, num_key_value_heads=key("attention.head_count_kv", heads),
                  max_position_embeddings=key("context_length"), rms_norm_eps=key("attention.layer_norm_rms_epsilon"),
                  vocab_size=vocabulary, tie_word_embeddings=tied)
    theta = key("rope.freq_base", 10000.0)
    dim = key("attention.key_length", hidden // heads)
    if arch == "gemma3":
        rope = {"full_attention": {"rope_type": "default", "rope_theta": theta},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
        return Gemma3TextConfig(**common, rope_parameters=rope, head_dim=dim, query_pre_attn_scalar=dim,
                                sliding_window=key("attention.sliding_window"))
    rope = {"rope_type": "default", "rope_theta": theta}
    if arch != "qwen2":
        common["head_dim"] = dim
    return CLASSES[arch][0](**common, rope_parameters=rope)


@torch.no_grad()
def load_gguf(path):
    """Returns (model, metadata); the model is in float32 with eager attention, every tensor of the file is used once."""
    reader = gguf.GGUFReader(path)
    meta = read_metadata(reader)
    arch = meta["general.architecture"]
    tensors = {t.name: t for t in reader.tensors}
    tied = "output.weight" not in tensors
    vocabulary = int(tensors["token_embd.weight"].shape[1])
    config = make_config(arch, meta, vocabulary, tied)
    model = CLASSES[arch][1]._from_config(config, attn_implementation="eager", dtype=torch.float32)
    for name, p in model.named_parameters():
        t = tensors.pop(gguf_name(name, arch))
        w = gguf.dequantize(t.data, t.tensor_type).astype(np.float32)
        heads = head_count(name, config)
        if heads and arch in PERMUTED:
            w = to_halves(w, heads)
        if arch == "gemma3" and name.endswith("norm.weight"):
            w = w - np.float32(1)
        assert tuple(w.shape) == tuple(p.shape), (name, w.shape, p.shape)
        p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    assert not tensors, f"unused: {list(tensors)}"
    return model.eval(), meta
