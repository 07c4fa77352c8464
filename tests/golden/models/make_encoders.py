"""Writes encoders/: tiny random models whose states are wanted (encoders of text, embedding models, rerankers), their
GGUF twins, golden states and embeddings, and encoders.json.

  python make_encoders.py [NAME ...]     all of ENCODERS, or those named

A row of encoders.json: `folder`, `gguf` (or null), `pooling` as the folder states it, `texts` (token ids), `types` (of
their tokens), `states` (float32 [all tokens of all texts, width]: transformers' last hidden states), `embeddings`
(float32 [texts * 3, width]: the mean, the first and the last of a text's states, to length 1), `scores` (what a
classification head makes of each text, or null), `tolerance`, `float32_noise`, `features` (largest change of a state
when an engine would overlook something) and `weakest` (the same when a tensor grows by 1 %, all of it or every other
value: that of the tensor which shows least). `judge`: the tokens for yes and no whose logits a reranker's score is the
difference of. Where there is a tokenizer, it is one of words, letters and digits, so that `kinglet embed` can be run.
"""
import copy
import json
import shutil
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.utils import logging

from common import HERE, Unlucky, demand, on_common_grid, random_tokens, rng_for
from llama_cpp_converter import convert

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = ["the", "bird", "sings", "in", "a", "tree", "##s", "##ing", ",", ".", "?", "king", "##let", "small"]
VOCABULARY = SPECIAL + list(LETTERS) + ["##" + c for c in LETTERS] + WORDS


def _bert(kind, architecture, **kw):
    base = dict(architectures=[architecture], model_type=kind, attention_probs_dropout_prob=0.1, hidden_act="gelu",
                hidden_dropout_prob=0.1, initializer_range=0.02, layer_norm_eps=1e-12, num_hidden_layers=2,
                pad_token_id=0, position_embedding_type="absolute", torch_dtype="float32", type_vocab_size=2,
                use_cache=True, vocab_size=len(VOCABULARY))
    return {**base, **kw}


def _qwen3(architecture, **kw):
    base = dict(architectures=[architecture], model_type="qwen3", attention_bias=False, attention_dropout=0.0,
                eos_token_id=2, head_dim=8, hidden_act="silu", hidden_size=16, intermediate_size=20,
                initializer_range=0.02, max_position_embeddings=64, num_attention_heads=4, num_hidden_layers=1,
                num_key_value_heads=2, pad_token_id=0, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=1000000.0,
                tie_word_embeddings=False, torch_dtype="float32", use_cache=True, vocab_size=89)
    return {**base, **kw}


ENCODERS = [
    # Released sentence encoders: the mean, a shorter longest text than there are places.
    dict(name="bert-mean", pooling="mean_tokens", max_seq_length=36, dtype="F16", gguf="F16",
         tokenizer=True, config=_bert("bert", "BertModel", hidden_size=12, num_attention_heads=3, intermediate_size=20,
                      max_position_embeddings=44)),
    # A cross-encoder: one label over the pooler; the activation of another formula; norms under their first names.
    dict(name="bert-cross", pooling=None, dtype="BF16", gguf=None, old_names=True, tokenizer=True,
         config=_bert("bert", "BertForSequenceClassification", hidden_size=10, num_attention_heads=5,
                      intermediate_size=14, max_position_embeddings=48, hidden_act="gelu_new", id2label={"0": "LABEL_0"},
                      label2id={"LABEL_0": 0})),
    # Places begin behind the padding's; the first token; one token type.
    dict(name="xlm-roberta-first", pooling="cls_token", dtype="F16", gguf="F16",
         config=_bert("xlm-roberta", "XLMRobertaModel", hidden_size=16, num_attention_heads=2, intermediate_size=18,
                      max_position_embeddings=46, type_vocab_size=1, pad_token_id=1, num_hidden_layers=1,
                     layer_norm_eps=1e-5)),
    dict(name="roberta-cross", pooling=None, dtype="F16", gguf="F16",
         config=_bert("roberta", "RobertaForSequenceClassification", hidden_size=12, num_attention_heads=2,
                      intermediate_size=16, max_position_embeddings=46, type_vocab_size=1, pad_token_id=1,
                      num_hidden_layers=1, layer_norm_eps=1e-5, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})),
    # Saved as a bare Qwen3Model: no head, names without "model.".
    dict(name="qwen3-embedding", pooling="lasttoken", dtype="F16", gguf="F16", config=_qwen3("Qwen3ForCausalLM")),
    dict(name="qwen3-judge", pooling=None, dtype="F16", gguf=None, judge=[90, 91],
         config=_qwen3("Qwen3ForCausalLM", tie_word_embeddings=True, vocab_size=97)),
    dict(name="qwen3-label", pooling=None, dtype="BF16", gguf=None,
         config=_qwen3("Qwen3ForSequenceClassification", num_key_value_heads=4, id2label={"0": "LABEL_0"},
                       label2id={"LABEL_0": 0})),
]
FOLDER = HERE / "encoders"
TOLERANCE = 5e-5  # largest difference of a state
TORCH_TYPE = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def classifies(row):
    return row["config"]["architectures"][0].endswith("ForSequenceClassification")


def is_bert(row):
    return row["config"]["model_type"] != "qwen3"


def write_tokenizer(folder):
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1",
                                                     [("[CLS]", 2), ("[SEP]", 3)])
    t.add_special_tokens(SPECIAL)
    t.save(str(folder / "tokenizer.json"), pretty=False)
    roles = dict(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]",
                 do_lower_case=True, tokenizer_class="BertTokenizer")
    (folder / "tokenizer_config.json").write_text(json.dumps(roles) + "\n")


def write_sentence_files(row, folder):
    if row["pooling"] is None:
        return
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [dict(idx=i, name=str(i), path=p, type=f"sentence_transformers.models.{k}") for i, (p, k) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules, indent=1) + "\n")
    (folder / "1_Pooling").mkdir()
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    pooling = {f"pooling_mode_{m}": m == row["pooling"] for m in modes}
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": row["config"]["hidden_size"], **pooling}, indent=1) + "\n")
    if "max_seq_length" in row:
        (folder / "sentence_bert_config.json").write_text(
            json.dumps(dict(max_seq_length=row["max_seq_length"], do_lower_case=False)) + "\n")


def new_model(row, config):
    loader = AutoModelForSequenceClassification if classifies(row) else AutoModelForCausalLM if "judge" in row else AutoModel
    return loader.from_config(config, attn_implementation="eager", dtype=torch.float32)


def random_weight(rng, name, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    if "orm.weight" in name:
        return 1.0 + 0.25 * x
    if name.endswith("bias"):
        return 0.3 * x
    if "embed" in name:
        return x
    return x * (1.5 / np.sqrt(shape[-1]))


def fill(row, model, seed):
    rng = rng_for(row["name"], seed)
    for name, p in model.named_parameters():
        w = on_common_grid(random_weight(rng, name, tuple(p.shape)))
        stored = torch.from_numpy(w).to(TORCH_TYPE[row["dtype"]]).float()
        p.data.copy_(stored)
    return rng


@torch.no_grad()
def outputs(row, model, texts, types):
    """(states of all tokens, scores or None), in the model's type."""
    model.eval()
    encoder = getattr(model, model.base_model_prefix, model)
    states, scores = [], []
    for ids, kinds in zip(texts, types):
        given = dict(input_ids=torch.tensor([ids]))
        given.update(dict(token_type_ids=torch.tensor([kinds])) if is_bert(row) else dict(use_cache=False))
        states.append(encoder(**given).last_hidden_state[0])
        if classifies(row):
            scores.append(model(**given).logits[0])
        elif "judge" in row:
            yes, no = model(**given).logits[0, -1, row["judge"]]
            scores.append((yes - no)[None])
    return torch.cat(states), torch.stack(scores) if scores else None


def pooled(states, texts):
    rows, at = [], 0
    for ids in texts:
        part = states[at:at + len(ids)].double()
        at += len(ids)
        for v in (part.mean(0), part[0], part[-1]):
            rows.append(v / v.norm())
    return torch.stack(rows).float()


@torch.no_grad()
def sensitivity(row, model, texts, types, base, scores):
    table = {}
    for name, p in model.named_parameters():
        if name.endswith(("pooler.dense.weight", "pooler.dense.bias")) and not classifies(row):
            continue  # nothing reads it
        changes, kept = [], p.data.clone()
        for every in (1, 2):
            grown = kept.clone().flatten()
            grown[every - 1::every] *= 1.01
            p.data.copy_(grown.view(kept.shape))
            states, now = outputs(row, model, texts, types)
            heads = ("classifier", "pooler", "score")
            changes.append(float((now - scores if any(h in name for h in heads) else states - base).abs().max()))
            p.data.copy_(kept)
        table[name] = [float(f"{c:.3g}") for c in changes]
    return table


@torch.no_grad()
def features(row, model, texts, types, base):
    """What changes when an engine would overlook something."""
    table = {}
    if not is_bert(row):
        return table

    def note(label, other, kinds=types):
        states = outputs(row, other, texts, kinds)[0]
        table[label] = float(f"{float((states - base).abs().max()):.3g}")

    for label, change in (("other gelu", dict(hidden_act="gelu" if model.config.hidden_act != "gelu" else "gelu_new")),
                          ("causal", dict(is_decoder=True)), ("epsilon", dict(layer_norm_eps=1e-3))):
        config = copy.deepcopy(model.config)
        for key, value in change.items():
            setattr(config, key, value)
        other = new_model(row, config)
        other.load_state_dict(model.state_dict())
        note(label, other)
    if model.config.type_vocab_size > 1:
        note("token types", model, [[0] * len(k) for k in types])
    if model.config.model_type != "bert":
        other = copy.deepcopy(model)
        table_of = getattr(other, other.base_model_prefix, other).embeddings.position_embeddings.weight
        table_of.data.copy_(table_of.data.roll(1, 0))
        note("offset of places", other)
    return table


def write_weights(row, model, folder):
    tensors = {n: p.data.to(TORCH_TYPE[row["dtype"]]).contiguous() for n, p in model.named_parameters()}
    if row.get("old_names"):
        def old(name):
            return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors = {old(n): t for n, t in tensors.items()}
    if row["name"] == "bert-mean":  # as releases of that time hold them
        tensors["embeddings.position_ids"] = torch.arange(row["config"]["max_position_embeddings"])[None]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def texts_of(rng, row):
    config = row["config"]
    places = config["max_position_embeddings"] - (config["pad_token_id"] + 1 if "roberta" in config["model_type"] else 0)
    last = config.get("type_vocab_size", 1) - 1
    # Not the padding token: RoBERTa counts its places over the others.
    texts = [[t if t != config["pad_token_id"] else 5 for t in random_tokens(rng, config["vocab_size"], n)]
             for n in (1, 7, 20, places)]
    types = [[int(i > len(t) // 3) * last for i in range(len(t))] for t in texts]
    return texts, types


def make_with(row, seed):
    folder = FOLDER / row["name"]
    config = AutoConfig.from_pretrained(folder)
    model = new_model(row, config)
    rng = fill(row, model, seed)
    texts, types = texts_of(rng, row)
    base, scores = outputs(row, model, texts, types)
    exact, exact_scores = outputs(row, copy.deepcopy(model).double(), texts, types)
    noise = float((base.double() - exact).abs().max())
    if scores is not None:
        noise = max(noise, float((scores.double() - exact_scores).abs().max()))
        demand(float(scores.std()) > 0.1, "scores too alike", float(scores.std()))
    table, overlooked = sensitivity(row, model, texts, types, base, scores), features(row, model, texts, types, base)
    print(row["name"], f"noise {noise:.1e}", overlooked, flush=True)
    demand(noise < TOLERANCE / 5, "float32 noise", noise)
    # A key's bias adds the same to all scores of a query: the softmax takes it out again.
    weak = {n: v for n, v in table.items() if max(v) <= 10 * TOLERANCE and not n.endswith("key.bias")}
    demand(not weak, "sensitivity", weak)
    demand(all(v > 10 * TOLERANCE for k, v in overlooked.items() if k != "epsilon"), "features", overlooked)
    write_weights(row, model, folder)
    np.save(FOLDER / f"{row['name']}.npy", base.numpy())
    np.save(FOLDER / f"{row['name']}.embeddings.npy", pooled(base, texts).numpy())
    weakest = min((max(v), n) for n, v in table.items() if not n.endswith("key.bias"))
    result = dict(name=row["name"], folder=f"encoders/{row['name']}", gguf=None, weights=row["dtype"],
                  pooling=row["pooling"], texts=texts, types=types, states=f"encoders/{row['name']}.npy",
                  embeddings=f"encoders/{row['name']}.embeddings.npy",
                  scores=None if scores is None else [[float(s) for s in v] for v in scores], judge=row.get("judge"),
                  tolerance=TOLERANCE, float32_noise=float(f"{noise:.2g}"), features=overlooked, weakest=weakest)
    if row["gguf"]:
        result["gguf"] = f"encoders/{row['name']}.gguf"
        convert(folder, HERE / result["gguf"], row["gguf"])
    return result


def make(row):
    folder = FOLDER / row["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(row["config"], indent=2) + "\n")
    if row.get("tokenizer"):
        write_tokenizer(folder)
    write_sentence_files(row, folder)
    for seed in range(50):
        try:
            return make_with(row, seed)
        except Unlucky as why:
            print(f"{row['name']} seed {seed}: {why}", flush=True)
    raise SystemExit(f"{row['name']}: no seed meets the demands")


def write_manifest(rows):
    path = FOLDER / "encoders.json"
    old = {r["name"]: r for r in json.loads(path.read_text())["models"]} if path.exists() else {}
    old.update({r["name"]: r for r in rows})
    listed = [old[r["name"]] for r in ENCODERS if r["name"] in old]
    text = ",\n".join("  {\n" + ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in r.items()) + "\n  }"
                      for r in listed)
    path.write_text('{"format": 1, "models": [\n' + text + "\n]}\n")


def main(names):
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    write_manifest([make(row) for row in ENCODERS if not names or row["name"] in names])


if __name__ == "__main__":
    main(sys.argv[1:])
