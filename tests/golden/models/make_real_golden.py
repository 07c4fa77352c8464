"""Golden logits of real models: transformers in float32 with the weights of the GGUF file widened by gguf-py.

  python make_real_golden.py NAME=FILE ...     e.g. smollm2=smollm2.gguf

Writes real/NAME.json (token ids and what was measured) and three arrays:
  real/NAME.ids.npy      int32   [256, 96]  token ids: the 32 largest logits of the position, then 64 drawn ones
  real/NAME.logits.npy   float32 [256, 96]  their logits
  real/NAME.lse.npy      float32 [256]      log of the sum of exp of all logits of the position
Drawn ids of position p: id j = splitmix64(p * 64 + j) mod vocabulary, j = 0..63, where splitmix64(n) is the n-th output
(from 0) of that generator with seed 0. They need not differ from each other or from the largest ones.
"""
import hashlib
import json
import sys

import numpy as np
import torch
from llama_cpp import Llama
from transformers.utils import logging

from common import HERE
from hf_from_gguf import load_gguf

GOLDEN_TOKENS, LONG_TOKENS, TOP, DRAWN = 256, 2048, 32, 64
TOLERANCE = 1e-3
MASK = (1 << 64) - 1


def splitmix64(n):
    z = ((n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def encode(path, text):
    """Ids by llama.cpp's tokenizer, BOS where the file asks for it."""
    tokenizer = Llama(str(path), vocab_only=True, verbose=False)
    return tokenizer.tokenize(text.encode(), add_bos=True, special=False)


@torch.no_grad()
def all_logits(model, tokens, chunk=256):
    """Yields [chunk, vocabulary] float32 with a cache, so that long texts fit into memory."""
    past = None
    for i in range(0, len(tokens), chunk):
        out = model(input_ids=torch.tensor([tokens[i:i + chunk]]), past_key_values=past, use_cache=True)
        past = out.past_key_values
        yield out.logits[0]


def perplexity(model, tokens):
    total, position = 0.0, 0
    for logits in all_logits(model, tokens):
        targets = tokens[position + 1: position + 1 + len(logits)]
        logp = torch.log_softmax(logits[: len(targets)], -1)
        total -= float(logp[torch.arange(len(targets)), torch.tensor(targets)].double().sum())
        position += len(logits)
    return float(np.exp(total / (len(tokens) - 1)))


def make(name, path):
    texts = {t: (HERE / "texts" / f"{t}.txt").read_text() for t in ("mixed", "alice")}
    golden = encode(path, texts["mixed"])[:GOLDEN_TOKENS]
    long = encode(path, texts["alice"] + "\n" + texts["mixed"])[:LONG_TOKENS]
    assert len(golden) == GOLDEN_TOKENS and len(long) >= 2000, (len(golden), len(long))
    model, _ = load_gguf(path)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([golden]), use_cache=False).logits[0]
        exact = model.double()(input_ids=torch.tensor([golden]), use_cache=False).logits[0]
        model.float()
    assert logits.dtype == torch.float32
    noise = float((logits.double() - exact).abs().max())
    vocabulary = logits.shape[1]
    drawn = torch.tensor([[splitmix64(p * DRAWN + j) % vocabulary for j in range(DRAWN)]
                          for p in range(GOLDEN_TOKENS)])
    ids = torch.cat([logits.topk(TOP, -1).indices, drawn], 1)
    folder = HERE / "real"
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.ids.npy", ids.numpy().astype(np.int32))
    np.save(folder / f"{name}.logits.npy", logits.gather(1, ids).numpy())
    np.save(folder / f"{name}.lse.npy", logits.double().logsumexp(-1).float().numpy())
    hits = float((logits.argmax(-1)[:-1] == torch.tensor(golden[1:])).float().mean())
    row = dict(name=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), vocabulary=vocabulary,
               tolerance=TOLERANCE, float32_noise=float(f"{noise:.2g}"), logits_std=round(float(logits.std()), 3), next_token_hits=round(hits, 3),
               perplexity_long=round(perplexity(model, long), 2), tokens=golden, long_tokens=long)
    (folder / f"{name}.json").write_text("{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}"
                                                           for k, v in row.items()) + "\n}\n")
    print({k: v for k, v in row.items() if "tokens" not in k}, len(long))
    tokenizer = Llama(str(path), vocab_only=True, verbose=False)
    for p in (20, 60, 100, 255):
        print("  ", tokenizer.detokenize(golden[max(0, p - 8): p + 1]), "->",
              [tokenizer.detokenize([int(i)]) for i in ids[p][:4]])


if __name__ == "__main__":
    from pathlib import Path
    logging.set_verbosity_error()
    torch.set_num_threads(2)
    for argument in sys.argv[1:]:
        key, file = argument.split("=", 1)
        make(key, Path(file))
