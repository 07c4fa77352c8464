"""Writes mixes.json: the types that llama.cpp's quantiser gives the tensors of small synthetic models."""
import ctypes
import json
import pathlib
import tempfile

import gguf
import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent
FILE_TYPES = {"Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8, "Q4_K_M": 15, "Q4_K_S": 14,
              "IQ4_NL": 25, "IQ4_XS": 30, "Q4_1": 3, "Q4_0": 2, "MXFP4": 38, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11,
              "Q2_K": 10, "BF16": 32, "F16": 1}
# heads per key head, experts, tied embeddings, width, and the feed-forward width of a layer
MODELS = {
    "dense": dict(layers=20, heads=4, kv_heads=4, experts=0, tied=False, width=256, ffn=512),
    "tied": dict(layers=9, heads=8, kv_heads=2, experts=0, tied=True, width=256, ffn=288),
    "odd": dict(layers=4, heads=6, kv_heads=2, experts=0, tied=True, width=96, ffn=272),
    "experts8": dict(layers=10, heads=4, kv_heads=2, experts=8, tied=False, width=256, ffn=256),
    "experts4": dict(layers=10, heads=4, kv_heads=1, experts=4, tied=False, width=256, ffn=256),
}


def tensors(m):
    """Names and shapes, outermost dimension first."""
    width, ffn, vocabulary = m["width"], m["ffn"], 64
    key = width // m["heads"] * m["kv_heads"]
    yield "token_embd.weight", (vocabulary, width)
    yield "output_norm.weight", (width,)
    if not m["tied"]:
        yield "output.weight", (vocabulary, width)
    for i in range(m["layers"]):
        for norm in ["attn_norm", "ffn_norm"]:
            yield f"blk.{i}.{norm}.weight", (width,)
        for name, rows in [("attn_q", width), ("attn_k", key), ("attn_v", key), ("attn_output", width)]:
            yield f"blk.{i}.{name}.weight", (rows, width)
        if m["experts"]:
            yield f"blk.{i}.ffn_gate_inp.weight", (m["experts"], width)
            for name, shape in [("gate", (ffn, width)), ("up", (ffn, width)), ("down", (width, ffn))]:
                yield f"blk.{i}.ffn_{name}_exps.weight", (m["experts"], *shape)
        else:
            for name, shape in [("gate", (ffn, width)), ("up", (ffn, width)), ("down", (width, ffn))]:
                yield f"blk.{i}.ffn_{name}.weight", shape


def write_model(m, path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(m["layers"])
    writer.add_context_length(128)
    writer.add_embedding_length(m["width"])
    writer.add_feed_forward_length(m["ffn"])
    writer.add_head_count(m["heads"])
    writer.add_head_count_kv(m["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(64)
    writer.add_tokenizer_model("no_vocab")
    if m["experts"]:
        writer.add_expert_count(m["experts"])
        writer.add_expert_used_count(2)
    for name, shape in tensors(m):
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types_of(path):
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


def main():
    @llama_cpp.llama_log_callback
    def silent(*_):
        pass

    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, m in MODELS.items():
            source, target = f"{folder}/in.gguf", f"{folder}/out.gguf"
            write_model(m, source)
            mixes = {}
            for mix, file_type in FILE_TYPES.items():
                params = llama_cpp.llama_model_quantize_default_params()
                params.ftype = file_type
                params.nthread = 1
                status = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))
                assert status == 0, (name, mix, status)
                found = types_of(target)
                # Types in the order of the tensors: one word each.
                mixes[mix] = " ".join(found[tensor] for tensor, _ in tensors(m))
            rows.append(dict(name=name, layers=m["layers"], heads=m["heads"], kv_heads=m["kv_heads"],
                             experts=m["experts"], tensors=[[n, list(s)] for n, s in tensors(m)], mixes=mixes))
    (HERE / "mixes.json").write_text(json.dumps(rows, indent=None, separators=(",", ":")).replace('"},{', '"},\n{') + "\n")


if __name__ == "__main__":
    main()
