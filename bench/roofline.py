#!/usr/bin/env python3
"""A roofline plot (SVG) of what compare.py measured, under what the machine could do at best.

usage: bench/roofline.py RESULT.json... -o OUT.svg

Each work on one sequence or prompt is a point: operations a byte of weights against operations a second, on logarithmic axes.
Generation reads all weights for one token, so its points stand left under the slope of the read bandwidth; prompts read them once
a step of up to 512 tokens and stand right under the peaks. Filled: Kinglet. Hollow: the rival. RESULT.json holds the limits
that `kinglet bench --limits` measured in the same run. The picture follows the reader's light or dark colours.
"""
import argparse
import math
import pathlib
import sys
from html import escape

from parts.tables import read_results

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 560, 70, 250, 50, 60
STEP_TOKENS = 512  # a longer prompt reads the weights once for so many
COLOURS = ["#2a7de1", "#d9591f", "#1f9d55", "#a143c9", "#c29000", "#d6336c", "#0f9ba8", "#7a6652"]
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .small { font-size: 11px } .title { font-size: 16px }
.axis, .roof { stroke: #57606a; fill: none } .roof { stroke-width: 2 } .grid { stroke: #d0d7de; stroke-width: 0.5 }
.paper { fill: #ffffff }
@media (prefers-color-scheme: dark) {
 text { fill: #d1d7e0 } .axis, .roof { stroke: #9198a1 } .grid { stroke: #3d444d } .paper { fill: #0d1117 }
}
</style>"""


def points(results):
    """(model, label, rival or None, operations a byte, operations a second) of every work that has a place in the plot."""
    for result in results:
        for model in result["models"]:
            for work in model["works"]:
                if work["batch"] > 1 or work["depth"]:
                    continue
                operations = 2.0 * model["parameters_a_token"]
                tokens = min(work["tokens"], STEP_TOKENS) if work["kind"] == "prompt" else 1
                if work["kind"] == "generation":
                    operations += 2.0 * model["head_parameters"]
                intensity = operations * tokens / model["weight_bytes_a_token"]
                label = f"{'prompt' if work['kind'] == 'prompt' else 'generation'} {work['tokens']}"
                yield model["model"], label, None, intensity, operations * work["kinglet"]["median"]
                for rival, found in work["rivals"].items():
                    yield model["model"], label, rival, intensity, operations * found["median"]


class Axis:
    def __init__(self, low, high, first, last):
        self.low, self.high, self.first, self.last = low, high, first, last

    def at(self, value):
        return self.first + (math.log10(value) - self.low) / (self.high - self.low) * (self.last - self.first)

    def decades(self):
        return [10.0 ** e for e in range(math.ceil(self.low), math.floor(self.high) + 1)]


def short(value):
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def roofs(limits, x, y):
    """The slope of the bandwidth and the two peaks, as far as they lie in the plot."""
    bandwidth = limits["read_gb_per_second"] * 1e9
    peaks = [("int8 peak", limits["int8_gop_per_second"] * 1e9), ("float peak", limits["float_gflop_per_second"] * 1e9)]
    ridge = max(peak for _, peak in peaks) / bandwidth
    low = 10 ** max(x.low, y.low - math.log10(bandwidth))
    yield (f'<path class="roof" d="M{x.at(low):.1f},{y.at(low * bandwidth):.1f} L{x.at(ridge):.1f},{y.at(ridge * bandwidth):.1f}"/>')
    middle = math.sqrt(low * ridge)
    slope = math.degrees(math.atan2(y.at(middle * bandwidth * 2) - y.at(middle * bandwidth), x.at(middle * 2) - x.at(middle)))
    px, py = x.at(middle), y.at(middle * bandwidth) - 8
    yield (f'<text class="small" text-anchor="middle" transform="rotate({slope:.1f} {px:.1f} {py:.1f})" x="{px:.1f}" y="{py:.1f}">'
           f'read bandwidth {bandwidth / 1e9:.1f} GB/s</text>')
    for name, peak in peaks:
        yield f'<path class="roof" d="M{x.at(peak / bandwidth):.1f},{y.at(peak):.1f} H{x.last}"/>'
        yield f'<text class="small" text-anchor="end" x="{x.last - 4}" y="{y.at(peak) - 6:.1f}">{name} {peak / 1e9:,.0f} GOP/s</text>'


def frame(x, y):
    for value in x.decades():
        yield f'<path class="grid" d="M{x.at(value):.1f},{TOP} V{HEIGHT - BOTTOM}"/>'
        yield f'<text class="small" text-anchor="middle" x="{x.at(value):.1f}" y="{HEIGHT - BOTTOM + 18}">{value:g}</text>'
    for value in y.decades():
        yield f'<path class="grid" d="M{LEFT},{y.at(value):.1f} H{WIDTH - RIGHT}"/>'
        yield f'<text class="small" text-anchor="end" x="{LEFT - 6}" y="{y.at(value) + 4:.1f}">{short(value)}</text>'
    yield f'<path class="axis" d="M{LEFT},{TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}"/>'
    yield f'<text text-anchor="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 18}">operations a byte of weights</text>'
    yield (f'<text text-anchor="middle" transform="rotate(-90 18 {HEIGHT / 2})" x="18" y="{HEIGHT / 2}">operations a second</text>')


def draw(results):
    limits, found = results[0]["limits"], list(points(results))
    if not found:
        raise SystemExit("no work of one sequence from an empty cache in the results: nothing to draw")
    peak = max(limits["int8_gop_per_second"], limits["float_gflop_per_second"]) * 1e9
    ridge = peak / (limits["read_gb_per_second"] * 1e9)
    x = Axis(math.log10(min(p[3] for p in found) / 2), math.log10(max(*(p[3] for p in found), ridge) * 2), LEFT, WIDTH - RIGHT)
    y = Axis(math.log10(min(p[4] for p in found) / 2), math.log10(peak * 2), HEIGHT - BOTTOM, TOP)
    models = list(dict.fromkeys(p[0] for p in found))
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">', STYLE,
             f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
             f'<text class="title" x="{LEFT}" y="28">{escape(results[0]["processor"])}, {results[0]["threads"]} threads, '
             f'{escape(limits["isa"])}</text>', *frame(x, y), *roofs(limits, x, y)]
    for model, label, rival, intensity, speed in found:
        colour = COLOURS[models.index(model) % len(COLOURS)]
        fill = f'fill="{colour}"' if rival is None else f'fill="none" stroke="{colour}" stroke-width="1.6"'
        parts.append(f'<circle cx="{x.at(intensity):.1f}" cy="{y.at(speed):.1f}" r="5" {fill}><title>{escape(model)}, {label}, '
                     f'{escape(rival or "Kinglet")}: {short(float(f"{speed:.3g}"))}OP/s</title></circle>')
    for i, model in enumerate(models):
        top = TOP + 10 + 20 * i
        parts.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{top}" r="5" fill="{COLOURS[i % len(COLOURS)]}"/>')
        parts.append(f'<text class="small" x="{WIDTH - RIGHT + 32}" y="{top + 4}">{escape(model)}</text>')
    rivals = list(dict.fromkeys(p[2] for p in found if p[2]))
    if rivals:
        parts.append(f'<text class="small" x="{WIDTH - RIGHT + 14}" y="{TOP + 24 + 20 * len(models)}">filled: Kinglet; hollow: '
                     f'{escape(", ".join(rivals))}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.output.write_text(draw(read_results(options.results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
