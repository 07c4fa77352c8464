#!/usr/bin/env python3
"""Writes tokenizers/NAME.json: what the reference tokenizers make of the texts in texts.jsonl.

usage: make_tokenizer_golden.py MODELS TOKENIZERS [NAME…]
MODELS holds smollm2.gguf, qwen2.5-coder-0.5b.gguf and gemma3-270m.gguf; TOKENIZERS is fetch_tokenizers.py's folder.
Versions: requirements.txt. Each text gets "COUNT:IDS:TEXT:SKIP": the number of ids without special ones around them, and
FNV-1a hashes of these ids (32-bit little-endian), of decoding them, and of decoding them without special tokens.
"""
import json
import pathlib
import struct
import sys

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HERE = pathlib.Path(__file__).parent


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def fields(path):
    return {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items() if k.startswith("tokenizer.")}


def add_listed(tok, f):
    special = [AddedToken(t, normalized=False, special=True) for t, k in zip(f["tokenizer.ggml.tokens"], f["tokenizer.ggml.token_type"]) if k in (2, 3)]
    plain = [AddedToken(t, normalized=False, special=False) for t, k in zip(f["tokenizer.ggml.tokens"], f["tokenizer.ggml.token_type"]) if k == 4]
    tok.add_special_tokens(special)
    tok.add_tokens(plain)
    return tok


def vocab_of(f):
    return ({t: i for i, t in enumerate(f["tokenizer.ggml.tokens"])}, [tuple(m.split(" ")) for m in f["tokenizer.ggml.merges"]])


def smollm2(models_dir, _):
    # The pipeline of the model's published tokenizer.json: single digits, then GPT-2's byte level.
    f = fields(models_dir / "smollm2.gguf")
    tok = Tokenizer(models.BPE(*vocab_of(f)))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    return add_listed(tok, f)


def qwen(models_dir, _):
    from transformers import Qwen2Tokenizer
    f = fields(models_dir / "qwen2.5-coder-0.5b.gguf")
    tok = Qwen2Tokenizer(vocab=vocab_of(f)[0], merges=vocab_of(f)[1])
    return add_listed(tok.backend_tokenizer, f)


def gemma(models_dir, _):
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(str(models_dir), gguf_file="gemma3-270m.gguf").backend_tokenizer


def from_file(name):
    def build(_, tokenizers_dir):
        tok = Tokenizer.from_file(str(tokenizers_dir / name / "tokenizer.json"))
        tok.no_truncation()
        tok.no_padding()
        return tok
    return build


def deepseek(_, tokenizers_dir):
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(str(tokenizers_dir / "deepseek")).backend_tokenizer


class SentencePiece:
    def __init__(self, path):
        import sentencepiece
        self.sp = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text):
        return self.sp.encode(text)

    def decode(self, ids, skip):
        return self.sp.decode(ids) if ids else ""


def sentencepiece(name):
    return lambda _, tokenizers_dir: SentencePiece(tokenizers_dir / name / "tokenizer.model")


class TikToken:
    # The pattern of Kimi K2's tokenizer, over the ranks of the file.
    PATTERN = "|".join([
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])

    def __init__(self, path):
        import base64
        import tiktoken
        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in path.read_bytes().splitlines() if line)}
        self.enc = tiktoken.Encoding("kimi", pat_str=self.PATTERN, mergeable_ranks=ranks, special_tokens={})

    def encode(self, text):
        return self.enc.encode(text, disallowed_special=())

    def decode(self, ids, skip):
        return self.enc.decode(ids, errors="replace")


def tiktoken(_, tokenizers_dir):
    return TikToken(tokenizers_dir / "qwen-tiktoken" / "tiktoken.model")


BUILDERS = {"smollm2": smollm2, "qwen2.5-coder-0.5b": qwen, "gemma3-270m": gemma, "claude": from_file("claude"), "deepseek": deepseek,
            "minilm": from_file("minilm"), "mistral-v1": sentencepiece("mistral-v1"), "mistral-v3": sentencepiece("mistral-v3"),
            "qwen-tiktoken": tiktoken}


def entry(tok, text):
    if isinstance(tok, Tokenizer):
        ids = tok.encode(text, add_special_tokens=False).ids
        whole, skip = tok.decode(ids, skip_special_tokens=False), tok.decode(ids, skip_special_tokens=True)
    else:
        ids = tok.encode(text)
        whole, skip = tok.decode(ids, False), tok.decode(ids, True)
    return ids, f"{len(ids)}:{fnv(struct.pack(f'<{len(ids)}I', *ids)):x}:{fnv(whole.encode()):x}:{fnv(skip.encode()):x}"


def main():
    models_dir, tokenizers_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    texts = [json.loads(line) for line in open(HERE / "texts.jsonl", encoding="ascii")]
    (HERE / "tokenizers").mkdir(exist_ok=True)
    for name in sys.argv[3:] or BUILDERS:
        tok = BUILDERS[name](models_dir, tokenizers_dir)
        golden = {"name": name, "texts": [], "first": [], "with_special": []}
        for i, text in enumerate(texts):
            ids, line = entry(tok, text)
            golden["texts"].append(line)
            if i < 60:
                golden["first"].append(ids)
            if i < 60 and isinstance(tok, Tokenizer):
                golden["with_special"].append(tok.encode(text, add_special_tokens=True).ids)
        if isinstance(tok, Tokenizer):
            # Ordinary ids in an order that no text has: invalid UTF-8, byte tokens, leading spaces.
            import random
            r = random.Random(7)
            n = tok.get_vocab_size()
            lists = [[r.choice([r.randrange(n), r.randrange(min(n, 600))]) for _ in range(r.randint(1, 12))] for _ in range(300)]
            golden["random_ids"] = [[ids, f"{fnv(tok.decode(ids, skip_special_tokens=True).encode()):x}"] for ids in lists]
        with open(HERE / "tokenizers" / f"{name}.json", "w") as f:
            json.dump(golden, f, separators=(",", ":"))
            f.write("\n")
        print(name, sum(len(x) for x in golden["first"]))


if __name__ == "__main__":
    main()
