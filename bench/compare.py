#!/usr/bin/env python3
"""Speed beside other engines: the same file, the same number of threads, alternating rounds on one machine.

usage: bench/compare.py MODEL.gguf... [-p 128,512] [-n 64] [-b 2,4,8,16,32] [-d 4096,16384] [--kv f16,q8_0] [--start 5] [--memory]
                        [--greedy 48] [-t 2] [--rounds 5] [--json FILE] [--markdown FILE]

Rivals, each skipped aloud where its package is absent: llama.cpp (llama-cpp-python, built for the machine:
CMAKE_ARGS=-DGGML_NATIVE=ON pip install --no-binary llama-cpp-python llama-cpp-python), mistral.rs (mistralrs), OpenVINO
(openvino-genai). Run this by the Python that has them. llama.cpp is taken at its best: flash attention on and off are measured
in every round, the faster counts.

A round measures each side once, after a run that is not measured; a speed is the median over rounds, a ratio that of the medians,
its spread that of the rounds' own ratios. Absolute speeds depend on the machine's mood; ratios less.

  -p, -n   prompts, and generation from an empty cache          -b   sequences that generate together (all their tokens count)
  -d       generation (and --deep-prompt) with so many tokens in the cache, for each type of --kv
  --start  seconds from exec to the first token of a prompt of about 10 tokens, files in the page cache; a rival's Python and its
           imports are told apart. Models with a template add its tokens, on both sides
  --memory what processes hold: peak, anonymous, of files        --greedy   the first difference of greedy outputs (real models)
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics
import sys

from parts.gguf_io import Header
from parts.limits import is_random, parameters_used, share
from parts.programs import Kinglet, Rival
from parts.rival_worker import RIVALS
from parts.tables import markdown

GREEDY_PROMPT = "Name the four seasons, and say in one sentence each what the weather is like."
KV_BYTES = {"f16": 1, "f32": 2, "q8_0": 17 / 32}  # times those of f16
START_WORDS = "The quick brown fox jumps over the lazy dog today".split()


def say(text):
    print(text, file=sys.stderr, flush=True)


def plan(options):
    """Groups of works that one start of Kinglet measures."""
    def work(kind, tokens, depth=0, batch=1, kv="f16"):
        return {"kind": kind, "tokens": tokens, "depth": depth, "batch": batch, "kv": kv}
    groups = [[work("prompt", p) for p in options.prompt] + [work("generation", n) for n in options.generate]]
    groups.append([work("generation", n, 0, b) for b in options.batch if b > 1 for n in options.generate])
    for kv in options.kv:
        groups += [[work(kind, n, d, 1, kv)] for d in options.depth if d > 0
                   for kind, n in [("generation", n) for n in options.generate] + [("prompt", p) for p in options.deep_prompt]]
    return [group for group in groups if group]


def measure_kinglet(program, group):
    """Speeds in the order of the group, and the bytes of weights that a token reads."""
    def all_of(kind, what):
        return list(dict.fromkeys(work[what] for work in group if kind in (None, work["kind"])))
    rows = program.bench(all_of("prompt", "tokens"), all_of("generation", "tokens"), all_of(None, "depth"), all_of(None, "batch"),
                         group[0]["kv"], 1)
    found = {(row["test"], row["depth"], row["batch"]): row["tokens_per_second"]["median"] for row in rows}
    names = {"prompt": "pp", "generation": "tg"}
    return ([found[f"{names[work['kind']]}{work['tokens']}", work["depth"], work["batch"]] for work in group],
            rows[0]["weight_bytes_per_token"])


def measure_rival(rival, work):
    """(speed, variant) of the faster variant; raises Rival.Cannot when none can."""
    speeds, reason = [], "it has no way"
    request = {key: value for key, value in work.items() if key not in ("kind", "batch")}
    if work["kind"] == "generation":
        request["batch"] = work["batch"]
    for variant in rival.about["variants"]:
        try:
            speeds.append((rival.ask(do=work["kind"], variant=variant, **request), variant))
        except Rival.Cannot as error:
            reason = str(error)
    if not speeds:
        raise Rival.Cannot(reason)
    return max(speeds)


def alternate(kinglet, rivals, group, rounds, notes):
    """Measures a group of works; returns them with their rounds."""
    works = [{**work, "kinglet": {"rounds": []}, "rivals": {}} for work in group]
    weight_bytes = 0
    for _ in range(rounds):
        speeds, weight_bytes = measure_kinglet(kinglet, group)
        for work, plain, speed in zip(works, group, speeds):
            work["kinglet"]["rounds"].append(speed)
            for rival in rivals:
                seen = work["rivals"].setdefault(rival.name, {"rounds": [], "variants": []})
                if seen is None:
                    continue
                try:
                    speed, variant = measure_rival(rival, plain)
                    seen["rounds"].append(speed)
                    seen["variants"].append(variant)
                except Rival.Cannot as error:
                    notes.append(f"{rival.name}, {plain['kind']} {plain['tokens']} (depth {plain['depth']}, batch {plain['batch']}, "
                                 f"KV {plain['kv']}): left out: {error}")
                    say(notes[-1])
                    work["rivals"][rival.name] = None
    for work in works:
        ours = work["kinglet"]["rounds"]
        work["kinglet"]["median"] = statistics.median(ours)
        work["rivals"] = {name: seen for name, seen in work["rivals"].items() if seen}
        for seen in work["rivals"].values():
            ratios = [a / b for a, b in zip(ours, seen["rounds"])]
            seen["median"] = statistics.median(seen["rounds"])
            seen["ratio"] = work["kinglet"]["median"] / seen["median"]
            seen["spread"] = [min(ratios), max(ratios)]
    return works, weight_bytes


def start_prompt(kinglet):
    """A text of about ten tokens."""
    text = START_WORDS[0]
    for word in START_WORDS[1:]:
        if kinglet.token_count(f"{text} {word}") > 10:
            break
        text += f" {word}"
    return text


def compare_starts(kinglet, rivals, rounds, notes):
    prompt = start_prompt(kinglet)
    text, _ = kinglet.rendered(prompt)
    ours, theirs = [], {}
    for number in range(rounds + 1):  # the first fills the page cache
        seconds = kinglet.first_token(prompt)
        if number:
            ours.append(seconds)
        for rival in rivals:
            if theirs.get(rival.name, []) is None:
                continue
            try:
                seconds = rival.first_token(text)
            except (RuntimeError, ValueError) as error:
                notes.append(f"{rival.name}: start left out: {error}")
                theirs[rival.name] = None
                continue
            if number:
                theirs.setdefault(rival.name, []).append(seconds)
    found = {name: {"from_exec": statistics.median(a for a, _ in seen), "after_import": statistics.median(b for _, b in seen)}
             for name, seen in theirs.items() if seen}
    return {"prompt_tokens": kinglet.token_count(text), "kinglet": statistics.median(ours), "rivals": found}


def compare_greedy(kinglet, rivals, tokens, notes):
    text, templated = kinglet.rendered(GREEDY_PROMPT)
    ours = kinglet.greedy(GREEDY_PROMPT, tokens).strip()
    found = {"kinglet": ours, "rivals": {}}
    for rival in rivals:
        try:
            theirs = rival.ask(do="greedy", text=text, tokens=tokens, special=not templated)["text"].strip()
        except Rival.Cannot as error:
            notes.append(f"{rival.name}: greedy output left out: {error}")
            continue
        length = min(len(ours), len(theirs))
        differs = next((i for i in range(length) if ours[i] != theirs[i]), None)
        found["rivals"][rival.name] = {"text": theirs, "first_difference": differs, "characters": length}
    return found


def compare_memory(kinglet, rivals, options, notes):
    """After one prompt and one generation on either side, before contexts of other works exist."""
    prompt, generate = max(options.prompt, default=128), max(options.generate, default=16)
    found = {"Kinglet": kinglet.memory(prompt, generate)}
    for rival in rivals:
        try:
            for kind, tokens, more in (("prompt", prompt, {}), ("generation", generate, {"batch": 1})):
                rival.ask(do=kind, variant=rival.about["variants"][0], tokens=tokens, depth=0, kv="f16", **more)
            found[rival.name] = rival.ask(do="memory")
        except Rival.Cannot as error:
            notes.append(f"{rival.name}: memory left out: {error}")
    return found


def open_rivals(path, options, notes):
    rivals = []
    for name in options.rivals:
        why = Rival.installed(name)
        if not why:
            try:
                rivals.append(Rival(name, path, options.threads, max([1, *options.batch])))
                continue
            except Rival.Cannot as error:
                why = str(error)
        notes.append(f"{name} skipped for {path.name}: {why}")
        say(notes[-1])
    return rivals


def compare(path, options, limits, result):
    notes = result["notes"]
    kinglet = Kinglet(options.kinglet, path, options.threads, options.isa)
    found = {"model": path.name, "file_bytes": path.stat().st_size, "random": is_random(path), "works": []}
    parameters, kv_bytes = parameters_used(path), kinglet.inspect()["memory"]["kv_bytes_per_token"]
    found |= {"parameters_a_token": parameters["int8"] + parameters["float"], "head_parameters": parameters["head"]}
    rivals = open_rivals(path, options, notes)
    try:
        for rival in rivals:
            if rival.about not in result["rivals"]:
                result["rivals"].append(rival.about)
        if options.memory:
            found["memory"] = compare_memory(kinglet, rivals, options, notes)
        for group in plan(options):
            say(f"{path.name}: {', '.join(str(w['tokens']) + ' ' + w['kind'] for w in group)}, depth {group[0]['depth']}")
            rounds = options.deep_rounds if group[0]["depth"] else options.rounds
            works, weight_bytes = alternate(kinglet, rivals, group, rounds, notes)
            found["weight_bytes_a_token"] = weight_bytes
            for work in works:
                bytes_a_position = kv_bytes * KV_BYTES[work["kv"]]
                work["limit"] = share(work, work["kinglet"]["median"], limits, parameters, weight_bytes, bytes_a_position)
            found["works"] += works
        if options.start:
            found["start"] = compare_starts(kinglet, rivals, options.start, notes)
        if options.greedy and not found["random"]:
            found["greedy"] = compare_greedy(kinglet, rivals, options.greedy, notes)
    finally:
        for rival in rivals:
            rival.end()
    result["models"].append(found)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


def parse():
    def numbers(text):
        return [int(part) for part in text.split(",") if part and int(part) > 0]

    def words(text):
        return [part for part in text.split(",") if part]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--kinglet", default="build/release/kinglet")
    parser.add_argument("--rivals", type=words, default=list(RIVALS), help=",".join(RIVALS))
    parser.add_argument("-p", "--prompt", type=numbers, default=[128])
    parser.add_argument("-n", "--generate", type=numbers, default=[64])
    parser.add_argument("-b", "--batch", type=numbers, default=[])
    parser.add_argument("-d", "--depth", type=numbers, default=[])
    parser.add_argument("--deep-prompt", type=numbers, default=[])
    parser.add_argument("--kv", type=words, default=["f16", "q8_0"])
    parser.add_argument("--start", type=int, default=0, metavar="ROUNDS")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--greedy", type=int, default=48, metavar="TOKENS")
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--isa", help="force Kinglet's instruction set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deep-rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    options = parser.parse_args()
    unknown = [name for name in options.rivals if name not in RIVALS]
    if unknown:
        parser.error(f"--rivals: found {unknown[0]}, expected some of {', '.join(RIVALS)}")
    unknown = [name for name in options.kv if name not in KV_BYTES]
    if unknown:
        parser.error(f"--kv: found {unknown[0]}, expected some of {', '.join(KV_BYTES)}")
    if min(options.rounds, options.deep_rounds, options.threads) < 1:
        parser.error("--rounds, --deep-rounds, --threads: found less than 1, expected at least 1")
    if not shutil.which(options.kinglet):
        parser.error(f"--kinglet: {options.kinglet} is no program; ./kinglet builds build/release/kinglet")
    for path in options.models:  # now, not after an hour
        try:
            Header(path)
        except OSError as error:
            parser.error(f"{path}: cannot be read: {error.strerror}")
        except ValueError as error:
            parser.error(str(error))
    return options


def main():
    options = parse()
    program = Kinglet(options.kinglet, options.models[0], options.threads, options.isa)
    limits = program.limits()
    result = {"date": datetime.date.today().isoformat(), "processor": processor(), "threads": options.threads,
              "kinglet": program.about(), "limits": limits, "rivals": [], "notes": [], "models": []}
    for path in options.models:
        compare(path, options, limits, result)
        if options.json:  # after every model: a long run that is stopped has not been for nothing
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    result["notes"] = list(dict.fromkeys(result["notes"]))
    text = markdown([result])
    if options.markdown:
        options.markdown.write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
