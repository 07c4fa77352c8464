#!/usr/bin/env python3
"""What a part of ./test came to: count_results.py EXIT_CODE LOG RESULTS_FOLDER.

Prints "passed failed skipped", then a line for every case that failed or was skipped.
"""
import json
import pathlib
import re
import sys

SKIPPED = 77


def gtest_cases(path):
    """(name, outcome) of each case in a GoogleTest result file."""
    for suite in json.loads(path.read_text(errors="replace"))["testsuites"]:
        for case in suite["testsuite"]:
            name = f'{path.stem}: {suite["name"]}.{case["name"]}'
            if case.get("failures"):
                yield name, "failed"
            elif case["status"] == "NOTRUN" or case["result"] == "SUPPRESSED":
                yield name, "skipped"
            else:
                yield name, "skipped" if case["result"] == "SKIPPED" else "passed"


def last_line(log):
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def count(code, log, results):
    """((passed, failed, skipped), remarks)"""
    remarks = []
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for path in sorted(results.glob("*.json")):
        try:
            cases = list(gtest_cases(path))
        except (ValueError, KeyError) as error:
            cases = [(f"{path.stem}: unreadable result file ({error})", "failed")]
        for name, outcome in cases:
            totals[outcome] += 1
            if outcome != "passed":
                remarks.append(f"{outcome}: {name}")
    end = last_line(log)
    if not any(totals.values()):
        said = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", end.strip())
        if said:
            totals = dict(zip(totals, map(int, said.groups())))
        elif code == SKIPPED:
            totals["skipped"] = 1
            remarks.append(f"skipped: {end.strip()}")
        elif code == 0:
            totals["passed"] = 1
    if code not in (0, SKIPPED) and not totals["failed"]:
        totals["failed"] = 1
        remarks.append(f"failed: ended with code {code}")
    if not any(totals.values()):
        totals["failed"] = 1
        remarks.append("failed: it checked nothing")
    return totals.values(), remarks


def main():
    code, log, results = int(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    totals, remarks = count(code, log, results)
    print(*totals)
    for remark in remarks:
        print(remark)


if __name__ == "__main__":
    main()
