#!/usr/bin/env python3
"""Speed beside llama.cpp: the same file, the same number of threads, alternating rounds on one machine.

usage: bench/compare.py MODEL.gguf... [--kinglet build/release/kinglet] [-p 128] [-n 64] [-t 2] [--rounds 5] [--json]

Needs the package llama-cpp-python, built for this machine (CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python).
The rival is taken at its best: flash attention on and off are both measured, the faster counts. Each round measures each side
once; the ratio is that of the medians, its spread that of the rounds' own ratios. Both sides read the same prompt length and
generate the same number of tokens from an empty cache. Absolute speeds depend on the machine's mood; ratios less.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time


class Rival:
    def __init__(self, path, threads, context, flash):
        import llama_cpp
        self.version = llama_cpp.__version__
        self.llama = llama_cpp.Llama(str(path), n_ctx=context, n_batch=512, n_ubatch=512, n_threads=threads,
                                     n_threads_batch=threads, flash_attn=flash, verbose=False)

    def measure(self, prompt, generate):
        """Tokens a second: prompt, generation."""
        vocabulary = self.llama.n_vocab()
        tokens = [random.randrange(vocabulary) for _ in range(prompt)]
        self.llama.reset()
        began = time.perf_counter()
        self.llama.eval(tokens)
        prompt_speed = prompt / (time.perf_counter() - began)
        self.llama.reset()
        began = time.perf_counter()
        for _ in range(generate):
            self.llama.eval([random.randrange(vocabulary)])
        return prompt_speed, generate / (time.perf_counter() - began)


def kinglet(binary, path, threads, prompt, generate):
    command = [binary, "bench", str(path), "-p", str(prompt), "-n", str(generate), "-t", str(threads), "-r", "1", "-o", "json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return tuple(row["tokens_per_second"]["median"] for row in rows)


def compare(path, options):
    """One model: {"prompt": {...}, "generation": {...}}, each with both medians, their ratio and the rounds' spread."""
    rivals = [Rival(path, options.threads, options.prompt + options.generate + 8, flash) for flash in (True, False)]
    for rival in rivals:
        rival.measure(options.prompt, min(options.generate, 8))
    rounds = []
    for _ in range(options.rounds):
        ours = kinglet(options.kinglet, path, options.threads, options.prompt, options.generate)
        theirs = [rival.measure(options.prompt, options.generate) for rival in rivals]
        rounds.append((ours, tuple(max(speeds) for speeds in zip(*theirs))))
    result = {"model": path.name, "rival": f"llama-cpp-python {rivals[0].version}", "threads": options.threads}
    for i, name in enumerate(("prompt", "generation")):
        ours, theirs = [a[i] for a, _ in rounds], [b[i] for _, b in rounds]
        ratios = [a / b for a, b in zip(ours, theirs)]
        result[name] = {"kinglet": statistics.median(ours), "rival": statistics.median(theirs),
                        "ratio": statistics.median(ours) / statistics.median(theirs), "spread": [min(ratios), max(ratios)]}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--kinglet", default="build/release/kinglet")
    parser.add_argument("-p", "--prompt", type=int, default=128)
    parser.add_argument("-n", "--generate", type=int, default=64)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        import llama_cpp  # noqa: F401
    except ImportError:
        print("skipped: the package llama-cpp-python is not installed", file=sys.stderr)
        return 77
    results = [compare(path, options) for path in options.models]
    if options.json:
        print(json.dumps(results, indent=1))
        return 0
    print("| model | work | Kinglet tok/s | llama.cpp tok/s | ratio (rounds) |\n|---|---|---|---|---|")
    for r in results:
        for name, label in (("prompt", f"prompt {options.prompt}"), ("generation", f"generation {options.generate}")):
            s = r[name]
            print(f"| {r['model']} | {label} | {s['kinglet']:.1f} | {s['rival']:.1f} | {s['ratio']:.2f} "
                  f"({s['spread'][0]:.2f} to {s['spread'][1]:.2f}) |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
