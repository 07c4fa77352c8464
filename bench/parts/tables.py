"""Markdown out of the JSON that compare.py writes."""
import json


def read_results(paths):
    """The JSON files of compare.py, or an end that says which is none."""
    results = []
    for path in paths:
        try:
            result = json.loads(path.read_text())
        except OSError as error:
            raise SystemExit(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise SystemExit(f"{path}: expected what compare.py --json writes, found no JSON: {error}") from None
        if not isinstance(result, dict) or not {"limits", "rivals", "notes", "models"} <= result.keys():
            raise SystemExit(f"{path}: expected what compare.py --json writes, found other JSON")
        results.append(result)
    return results


def label(work):
    text = f"prompt {work['tokens']}" if work["kind"] == "prompt" else f"generation {work['tokens']}"
    if work["batch"] > 1:
        text += f", {work['batch']} together"
    if work["depth"]:
        text += f" at {work['depth']:,}"
    return text if work["kv"] == "f16" else f"{text}, {work['kv']} KV"


def _speed(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _row(model, work, rivals):
    cells = [model, label(work), _speed(work["kinglet"]["median"])]
    for rival in rivals:
        found = work["rivals"].get(rival)
        if found is None:
            cells += ["–", "–"]
        else:
            low, high = found["spread"]
            cells += [_speed(found["median"]), f"**{found['ratio']:.2f}** ({low:.2f} to {high:.2f})"]
    of = work.get("limit")
    return [*cells, f"{100 * of['share']:.0f} % of {_speed(of['limit'])} ({of['of']})" if of else ""]


def _table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def speeds(results, rivals):
    head = ["model", "work", "Kinglet tok/s"]
    for rival in rivals:
        head += [f"{rival} tok/s", "ratio (rounds)"]
    rows = [_row(model["model"], work, rivals) for r in results for model in r["models"] for work in model["works"]]
    return _table([*head, "share of the limit"], rows)


def starts(results):
    rows = []
    for model in (model for r in results for model in r["models"] if "start" in model):
        start = model["start"]
        for name, found in start["rivals"].items():
            rows.append([model["model"], str(start["prompt_tokens"]), f"{start['kinglet']:.2f}", name,
                         f"{found['after_import']:.2f}", f"{found['from_exec']:.2f}",
                         f"{start['kinglet'] / found['after_import']:.2f}"])
        if not start["rivals"]:
            rows.append([model["model"], str(start["prompt_tokens"]), f"{start['kinglet']:.2f}", "–", "–", "–", "–"])
    head = ["model", "prompt tokens", "Kinglet s", "rival", "s after Python's imports", "s from exec", "times as long"]
    return _table(head, rows) if rows else ""


def memories(results):
    def size(value):
        return f"{value / 1e6:.0f}"
    rows = []
    for model in (model for r in results for model in r["models"] if "memory" in model):
        for name, m in model["memory"].items():
            rows.append([model["model"], name, size(model["file_bytes"]), size(m["peak"]), size(m["anonymous"]), size(m["file"])])
    return _table(["model", "program", "file MB", "peak MB", "anonymous MB", "of files MB"], rows) if rows else ""


def greedy(results):
    rows = []
    for model in (model for r in results for model in r["models"] if "greedy" in model):
        for name, g in model["greedy"]["rivals"].items():
            where = "the same" if g["first_difference"] is None else f"differs from character {g['first_difference']} on"
            rows.append([model["model"], name, f"{where} ({g['characters']} compared)"])
    return _table(["model", "rival", "greedy output"], rows) if rows else ""


def losses(results):
    """Where a rival is faster, in words; empty without rivals."""
    found, compared = [], 0
    for model in (model for r in results for model in r["models"]):
        for work in model["works"]:
            for name, seen in work["rivals"].items():
                compared += 1
                if seen["ratio"] < 1:
                    found.append(f"{model['model']}, {label(work)}: {seen['ratio']:.2f} of {name}")
        for name, seen in model.get("start", {"rivals": {}})["rivals"].items():
            compared += 1
            ratio = model["start"]["kinglet"] / seen["after_import"]
            if ratio > 1:
                found.append(f"{model['model']}, start: {ratio:.2f} times as long as {name}")
    if not compared:
        return ""
    return "Where it loses: " + ("; ".join(found) if found else f"in none of these {compared} comparisons") + ".\n"


def heading(result):
    limits = result["limits"]
    rivals = ", ".join(f"{r['name']} ({r['version']})" for r in result["rivals"]) or "no rival"
    return (f"{result['date']}, {result['processor']}, {result['threads']} threads; beside {rivals}. Limits: "
            f"{limits['read_gb_per_second']:.1f} GB/s, {limits['int8_gop_per_second']:,.0f} int8 GOP/s, "
            f"{limits['float_gflop_per_second']:,.0f} GFLOP/s ({limits['isa']}).\n")


def markdown(results):
    """Of one or several results."""
    rivals = list(dict.fromkeys(r["name"] for result in results for r in result["rivals"]))
    parts = ["\n".join(dict.fromkeys(heading(r) for r in results)), speeds(results, rivals), starts(results), losses(results),
             memories(results), greedy(results)]
    notes = dict.fromkeys(note for r in results for note in r["notes"])
    return "\n".join(part for part in [*parts, "".join(f"- {note}\n" for note in notes)] if part)
