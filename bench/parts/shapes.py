"""Shapes of models, the tensors that they consist of, which type each gets, and a vocabulary of the right size."""
import dataclasses
import fnmatch

from .gguf_io import I32, TYPES


@dataclasses.dataclass(frozen=True)
class Shape:
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # of an expert, where there are experts
    vocabulary: int
    tied: bool
    rope_base: float
    context: int
    experts: int = 0
    experts_used: int = 0


SHAPES = {
    "qwen2-0.5b": Shape("qwen2", 24, 896, 14, 2, 64, 4864, 151936, True, 1e6, 32768),
    "qwen2-1.5b": Shape("qwen2", 28, 1536, 12, 2, 128, 8960, 151936, True, 1e6, 32768),
    # Llama-3.1-Minitron-4B-Width's.
    "llama-4b": Shape("llama", 32, 3072, 32, 8, 128, 9216, 128256, False, 5e5, 131072),
    # Half of Qwen3-30B-A3B in layers, experts and heads; no such model was published.
    "qwen3-moe-8b-a1b": Shape("qwen3moe", 24, 2048, 16, 4, 128, 768, 151936, False, 1e6, 40960, 64, 8),
    "tiny": Shape("qwen2", 2, 256, 4, 2, 64, 512, 600, True, 1e6, 2048),
    "tiny-moe": Shape("qwen3moe", 2, 256, 4, 2, 64, 256, 600, False, 1e6, 2048, 8, 2),
}

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def problem_of(shape):
    """Why there is no model of this shape, in words; None where there is."""
    least = {"experts": 0, "experts_used": 0, "vocabulary": 256 + len(SPECIAL)}  # a token for every byte
    for field in dataclasses.fields(shape):
        if field.type is int and getattr(shape, field.name) < least.get(field.name, 1):
            return f"{field.name}: found {getattr(shape, field.name)}, expected at least {least.get(field.name, 1)}"
    if shape.heads % shape.kv_heads:
        return f"heads: found {shape.heads}, expected a multiple of kv_heads, {shape.kv_heads}"
    if shape.head_dim % 2:
        return f"head_dim: found {shape.head_dim}, expected an even number"
    if bool(shape.experts) != shape.architecture.endswith("moe"):
        return f"experts: found {shape.experts}, which {shape.architecture} can't have; expected another --shape"
    if shape.experts and not 1 <= shape.experts_used <= shape.experts:
        return f"experts_used: found {shape.experts_used}, expected 1 to {shape.experts}"
    return None


# Base type and file type of llama.cpp's mixes; a plain type is a mix, too.
MIXES = {"Q2_K": ("Q2_K", 10), "Q3_K_S": ("Q3_K", 11), "Q3_K_M": ("Q3_K", 12), "Q3_K_L": ("Q3_K", 13), "Q4_K_S": ("Q4_K", 14),
         "Q4_K_M": ("Q4_K", 15), "Q5_K_S": ("Q5_K", 16), "Q5_K_M": ("Q5_K", 17)}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q3_K": 12, "Q4_K": 15, "Q5_K": 17,
              "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ2_S": 28,
              "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4": 38, "NVFP4": 39}
# What stands in for a type whose block does not divide a row.
STAND_INS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
             **{kind: "IQ4_NL" for kind in TYPES if kind.startswith("IQ")}}


def matrices(shape):
    """(name, shape from the row's length on) of every tensor; gains follow from `fan_in`."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "token_embd.weight", (shape.hidden, shape.vocabulary)
    yield "output_norm.weight", (shape.hidden,)
    if not shape.tied:
        yield "output.weight", (shape.hidden, shape.vocabulary)
    for i in range(shape.layers):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", (shape.hidden,)
        for name, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield b + f"attn_{name}.weight", (shape.hidden, rows)
            if shape.architecture == "qwen2":
                yield b + f"attn_{name}.bias", (rows,)
        if shape.architecture.startswith("qwen3"):
            yield b + "attn_q_norm.weight", (shape.head_dim,)
            yield b + "attn_k_norm.weight", (shape.head_dim,)
        yield b + "attn_output.weight", (queries, shape.hidden)
        yield b + "ffn_norm.weight", (shape.hidden,)
        tail, stack = ("_exps", (shape.experts,)) if shape.experts else ("", ())
        if shape.experts:
            yield b + "ffn_gate_inp.weight", (shape.hidden, shape.experts)
        yield b + f"ffn_gate{tail}.weight", (shape.hidden, shape.ffn, *stack)
        yield b + f"ffn_up{tail}.weight", (shape.hidden, shape.ffn, *stack)
        yield b + f"ffn_down{tail}.weight", (shape.ffn, shape.hidden, *stack)


def _more_bits(layer, layers):
    """Of n layers: the first and last eighth, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _of_layer(mix, base, name, shape):
    """The mixes' choices, as src/convert/mix.cc makes them, for models without eight experts or eighty layers."""
    layer, layers = int(name.split(".")[1]), shape.layers
    grouped = shape.heads // shape.kv_heads >= 4
    raised = mix in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, layers)
    if ".attn_v." in name:
        if raised:
            return "Q6_K"
        return {"Q2_K": "Q4_K" if grouped else "Q3_K", "Q3_K_M": "Q5_K" if layer < 2 else "Q4_K", "Q3_K_L": "Q5_K",
                "Q4_K_S": "Q5_K" if layer < 4 else base, "IQ4_NL": "Q5_K" if grouped else base,
                "IQ4_XS": "Q5_K" if grouped else base}.get(mix, base)
    if ".ffn_down" in name:
        if raised:
            return "Q6_K"
        early = {"Q4_K_S": "Q5_K", "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K"}.get(mix, base) if layer < layers // 8 else base
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q5_K" if layer < layers // 16 else "Q4_K", "Q3_K_L": "Q5_K"}.get(mix, early)
    if ".attn_output." in name:
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(mix, base)
    return base


def choose_type(mix, name, columns, shape, pure, overrides):
    """The type of one tensor."""
    if name.endswith(".bias") or "norm" in name or "ffn_gate_inp" in name:
        return "F32"
    base = MIXES.get(mix, (mix,))[0]
    head = name == "output.weight" or (name == "token_embd.weight" and shape.tied)
    floats = base in ("F32", "F16", "BF16")
    kind = base
    if not pure and not floats:
        if head:
            wide = base in ("Q8_0", "MXFP4", "NVFP4") or columns % TYPES[base][1]
            kind = "Q8_0" if wide else "Q6_K"
        elif base == "MXFP4":
            experts_alone = shape.experts and "_exps" not in name
            kind = "Q8_0" if experts_alone or name == "token_embd.weight" else base
        elif name.startswith("blk."):
            kind = _of_layer(mix, base, name, shape)
    for pattern, wanted in overrides:
        if fnmatch.fnmatch(name, pattern):
            kind = wanted
    if columns % TYPES[kind][1]:
        kind = STAND_INS.get(kind, kind)
    return kind if columns % TYPES[kind][1] == 0 else "F16"


def _letters():
    """What byte-level BPE writes for each byte."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def tokenizer_keys(architecture, vocabulary):
    """A byte-level vocabulary of exactly this many entries: every byte, then pairs of printable ASCII, then triples, each
    with its merge, so that reading it costs what a real one costs. The last three are special."""
    ascii_letters = [chr(byte) for byte in range(0x21, 0x7f)]
    words, merges, first = _letters(), [], ascii_letters
    wanted = vocabulary - len(SPECIAL)
    while len(words) < wanted:
        longer = []
        for left in first:
            for right in ascii_letters:
                if len(words) == wanted:
                    break
                words.append(left + right)
                longer.append(left + right)
                merges.append(f"{left} {right}")
        first = longer
    pre = "qwen2" if architecture.startswith("qwen") else "llama-bpe"
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": words + SPECIAL,
            "tokenizer.ggml.token_type": [I32(1)] * len(words) + [I32(3)] * len(SPECIAL), "tokenizer.ggml.merges": merges or ["a b"],
            "tokenizer.ggml.bos_token_id": vocabulary - 3, "tokenizer.ggml.eos_token_id": vocabulary - 1,
            "tokenizer.ggml.padding_token_id": vocabulary - 3, "tokenizer.ggml.add_bos_token": False}


def model_keys(shape, mix, name):
    a = shape.architecture
    keys = {"general.architecture": a, "general.name": name, "general.description": RANDOM,
            "general.quantization_version": 2, "general.file_type": MIXES[mix][1] if mix in MIXES else FILE_TYPES[mix],
            f"{a}.block_count": shape.layers, f"{a}.context_length": shape.context, f"{a}.embedding_length": shape.hidden,
            f"{a}.feed_forward_length": shape.ffn * max(shape.experts_used, 1), f"{a}.attention.head_count": shape.heads,
            f"{a}.attention.head_count_kv": shape.kv_heads, f"{a}.attention.key_length": shape.head_dim,
            f"{a}.attention.value_length": shape.head_dim, f"{a}.attention.layer_norm_rms_epsilon": 1e-6,
            f"{a}.rope.freq_base": shape.rope_base}
    if a == "llama":
        keys |= {"llama.vocab_size": shape.vocabulary, "llama.rope.dimension_count": shape.head_dim}
    if shape.experts:
        keys |= {f"{a}.expert_count": shape.experts, f"{a}.expert_used_count": shape.experts_used,
                 f"{a}.expert_feed_forward_length": shape.ffn}
    return keys | tokenizer_keys(a, shape.vocabulary)


RANDOM = "random weights (bench/random_model.py): for speeds only"
