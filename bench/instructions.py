#!/usr/bin/env python3
"""Counts the instructions of a few kernels under callgrind and compares them with bench/instruction_counts.json, so that a
slow-down is seen whatever the machine's mood. AVX2 is forced: valgrind knows no AVX-512.

usage: bench/instructions.py [--program build/dev/bench/instruction_cases] [--write]

More than 3 % more instructions than the file says fails; --write renews the file (say in the commit why a count grew). Counts
hold for one compiler, which the file names: with another nothing is compared, and the exit code is 77.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
COUNTS = ROOT / "bench/instruction_counts.json"
LEVEL = "avx2"
ALLOWED = 0.03


def compiler_of(program):
    """The first line of `g++ --version` of the build that the program stands in."""
    for folder in program.resolve().parents:
        cache = folder / "CMakeCache.txt"
        if cache.exists():
            path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache.read_text(), re.M).group(1)
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
            return re.sub(r"^\S*(c|g)\+\+\S* \(", "g++ (", said)  # it has several names
    raise SystemExit(f"{program}: expected inside of a CMake build; build it with: cmake --preset dev && ninja -C build/dev "
                     "instruction_cases")


def parse_dumps(texts):
    """{kernel: instructions} of callgrind's output files."""
    counts = {}
    for text in texts:
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
        if name and total:
            counts[name.group(1)] = int(total.group(1))
    return counts


def count(program):
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out", str(program), LEVEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        counts = parse_dumps(path.read_text() for path in sorted(pathlib.Path(folder).iterdir()))
    missing = set(done.stdout.split()) - set(counts)
    if missing or not counts:
        raise SystemExit(f"callgrind wrote no count of {', '.join(sorted(missing)) or 'anything'}")
    return counts


def judge(expected, found):
    """(problems, remarks, how many kernels passed)."""
    problems, remarks, passed = [], [], 0
    renew = "bench/instructions.py --write renews the file"
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            problems.append(f"{name}: is in {COUNTS.name} but was not run; {renew}")
        elif name not in expected:
            problems.append(f"{name}: {found[name]:,} instructions, but {COUNTS.name} has no such kernel; {renew}")
        elif found[name] > expected[name] * (1 + ALLOWED):
            problems.append(f"{name}: {found[name]:,} instructions, expected at most {100 * ALLOWED:.0f} % over {expected[name]:,} "
                            f"(found {100 * (found[name] / expected[name] - 1):.1f} %): make it fast again, or, where it has a "
                            f"reason, {renew}")
        else:
            passed += 1
            if found[name] < expected[name] * (1 - ALLOWED):
                remarks.append(f"{name}: {found[name]:,} instructions, fewer than {expected[name]:,}; {renew}")
    return problems, remarks, passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/dev/bench/instruction_cases")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not options.program.exists():
        raise SystemExit(f"{options.program} is not there: cmake --preset dev && ninja -C build/dev instruction_cases (needs the "
                         "package valgrind)")
    compiler = compiler_of(options.program)
    if not options.write and (wanted := json.loads(COUNTS.read_text())["compiler"]) != compiler:
        print(f"SKIPPED: the counts are those of {wanted}, this build is by {compiler}")
        return 77
    if not shutil.which("valgrind"):
        print("SKIPPED: valgrind is not installed")
        return 77
    if " avx2" not in pathlib.Path("/proc/cpuinfo").read_text():
        print("SKIPPED: this machine has no AVX2")
        return 77
    found = count(options.program)
    if options.write:
        COUNTS.write_text(json.dumps({"compiler": compiler, "level": LEVEL, "instructions": found}, indent=1, sort_keys=True) + "\n")
        print(f"{len(found)} counts written to {COUNTS}")
        return 0
    problems, remarks, passed = judge(json.loads(COUNTS.read_text())["instructions"], found)
    print("\n".join([*remarks, *problems, f"{passed} passed, {len(problems)} failed, 0 skipped"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
