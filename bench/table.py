#!/usr/bin/env python3
"""The tables of docs/PERFORMANCE.md out of compare.py's JSON files.

usage: bench/table.py RESULT.json... [--into docs/PERFORMANCE.md]

Prints Markdown, or puts it between the lines <!-- results --> and <!-- /results --> of a page.
"""
import argparse
import pathlib
import sys

from parts.tables import markdown, read_results

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def put(page, text):
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"the page: expected the lines {BEGIN} and {END}, once each")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=pathlib.Path)
    parser.add_argument("--into", type=pathlib.Path)
    options = parser.parse_args()
    text = markdown(read_results(options.results))
    if options.into:
        options.into.write_text(put(options.into.read_text(), text))
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
