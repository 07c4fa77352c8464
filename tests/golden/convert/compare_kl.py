"""Kinglet's quantised files against llama.cpp's: compare_kl.py KINGLET SOURCE.gguf TEXT MIX...

Both make the same mix of the same source (which is widened to F16 first); llama.cpp then computes the logits of all of
them. Prints the mean Kullback-Leibler divergence from the source and the share of tokens with the same first choice.
"""
import ctypes
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

TOKENS, WINDOW = 1024, 512
F16 = 1
FILE_TYPES = {"Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q4_K_M": 15, "Q4_K_S": 14, "IQ4_NL": 25, "IQ4_XS": 30, "Q4_0": 2,
              "Q3_K_M": 12}


def quantise_by_llama_cpp(source, target, file_type):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = file_type, 2, True
    assert llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)) == 0


def log_probabilities(path, text):
    model = llama_cpp.Llama(path, logits_all=True, n_ctx=WINDOW, n_batch=WINDOW, n_threads=2, verbose=False)
    tokens = model.tokenize(text.encode())[:TOKENS]
    rows = []
    for begin in range(0, len(tokens), WINDOW):
        part = tokens[begin:begin + WINDOW]
        model.reset()
        model.eval(part)
        logits = np.array(model.scores[:len(part)], dtype=np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        rows.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return np.concatenate(rows)


@llama_cpp.llama_log_callback
def silent(*_):
    pass


def main():
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    kinglet, source, text, *mixes = sys.argv[1:]
    text = open(text, encoding="utf-8").read()
    with tempfile.TemporaryDirectory() as folder:
        plain, ours, theirs = f"{folder}/f16.gguf", f"{folder}/ours.gguf", f"{folder}/theirs.gguf"
        quantise_by_llama_cpp(source, plain, F16)
        base = log_probabilities(plain, text)
        for mix in mixes:
            subprocess.run([kinglet, "-q", "quantize", plain, ours, mix], check=True, stdout=subprocess.DEVNULL)
            quantise_by_llama_cpp(plain, theirs, FILE_TYPES[mix])
            for who, path in [("kinglet", ours), ("llama.cpp", theirs)]:
                found = log_probabilities(path, text)
                divergence = (np.exp(base) * (base - found)).sum(axis=1)
                error = divergence.std() / len(divergence) ** 0.5
                same = (base.argmax(axis=1) == found.argmax(axis=1)).mean()
                print(f"{mix:8s} {who:10s} KL {divergence.mean():.5f} +/- {error:.5f}  same choice {100 * same:.1f} %",
                      flush=True)


if __name__ == "__main__":
    main()
