"""A model that thinks, made by hand: every token has one successor. Embeddings are one-hot, everything between them and
the output is zero, and the output matrix is the table of successors; so what the model says follows from the last token
of the prompt, and the template decides what that is."""
import json
import struct

START, END, OPEN, CLOSE = "<|im_start|>", "<|im_end|>", "<think>", "</think>"
WORDS = ["\n\n", "\nHmm", "Hmm", ", wait. ", "So: ", "Blue", " sky.", "la "]
ROWS = 288  # of the vocabulary, and the hidden size: a multiple of 32

# The prompt ends in "assistant\n", or in an empty block and "\n\n".
THINKS = {"\n": OPEN, OPEN: "\nHmm", "\nHmm": ", wait. ", ", wait. ": "So: ", "So: ": CLOSE, CLOSE: "\n\n", "\n\n": "Blue",
          "Blue": " sky.", " sky.": END}
# The prompt ends in "<think>\n".
OPENED = {**THINKS, "\n": "Hmm", "Hmm": ", wait. "}
# Thinking that has no end.
ENDLESS = {**THINKS, OPEN: "la ", "la ": "la "}

_TURNS = """{%- set last = namespace(user=0) -%}
{%- for m in messages %}{% if m.role == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor -%}
{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\n' -}}
{%- if m.reasoning_content and loop.index0 > last.user -%}{{- '<think>\n' + m.reasoning_content + '\n</think>\n\n' -}}{%- endif -%}
{{- m.content + '<|im_end|>\n' -}}
{%- endfor -%}
"""
# Qwen3's way, and that of models that can't but think.
ASKS = _TURNS + """{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}{%- endif -%}"""
OPENS = _TURNS + "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n<think>\n' -}}{%- endif -%}"
# DeepSeek V3.1's word for it, off unless asked for.
THINKING = _TURNS + """{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}
{%- if not thinking -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}{%- endif -%}"""


def _letters():
    """What byte-level BPE writes for each byte."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _tokenizer(special):
    added = [*special, *(word for word in [OPEN, CLOSE, *WORDS] if word not in special)]
    ids = {word: 256 + i for i, word in enumerate(added)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokens = [{"id": i, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
               "special": word in special} for word, i in ids.items()]
    bpe = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
           "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
           "vocab": {letter: byte for byte, letter in enumerate(_letters())}, "merges": []}
    return ids, {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": None,
                 "pre_tokenizer": level, "post_processor": None, "decoder": level, "model": bpe}


def _weights(successors, ids):
    def id_of(word):
        return ids.get(word, ord(word) if len(word) == 1 else None)

    def matrix(places):
        data = bytearray(4 * ROWS * ROWS)
        for row, column in places:
            struct.pack_into("<f", data, 4 * (row * ROWS + column), 4.0)
        return (ROWS, ROWS), bytes(data)

    def filled(shape, value=0.0):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        return shape, struct.pack("<f", value) * count

    layer = "model.layers.0."
    return {"model.embed_tokens.weight": matrix((i, i) for i in range(ROWS)),
            "lm_head.weight": matrix((id_of(then), id_of(word)) for word, then in successors.items()),
            "model.norm.weight": filled((ROWS,), 1.0),
            layer + "input_layernorm.weight": filled((ROWS,), 1.0),
            layer + "post_attention_layernorm.weight": filled((ROWS,), 1.0),
            layer + "self_attn.q_proj.weight": filled((32, ROWS)), layer + "self_attn.k_proj.weight": filled((32, ROWS)),
            layer + "self_attn.v_proj.weight": filled((32, ROWS)), layer + "self_attn.o_proj.weight": filled((ROWS, 32)),
            layer + "mlp.gate_proj.weight": filled((32, ROWS)), layer + "mlp.up_proj.weight": filled((32, ROWS)),
            layer + "mlp.down_proj.weight": filled((ROWS, 32))}


def write_model(folder, successors, template, special_markers=False):
    """A Hugging Face folder. `special_markers`: the vocabulary calls the thinking's markers special tokens."""
    folder.mkdir()
    ids, tokenizer = _tokenizer([START, END, OPEN, CLOSE] if special_markers else [START, END])
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
              "eos_token_id": ids[END], "max_position_embeddings": 1024, "rope_theta": 10000.0, "tie_word_embeddings": False,
              "torch_dtype": "float32", "hidden_size": ROWS, "intermediate_size": 32, "num_hidden_layers": 1,
              "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": ROWS}
    header, body = {}, b""
    for name, (shape, data) in _weights(successors, ids).items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(packed)) + packed + body)
    for name, value in (("config.json", config), ("tokenizer.json", tokenizer),
                        ("tokenizer_config.json", {"eos_token": END, "chat_template": template})):
        (folder / name).write_text(json.dumps(value))
    return folder
