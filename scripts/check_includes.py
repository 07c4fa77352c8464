#!/usr/bin/env python3
"""Checks of the source text: the include table, third-party headers, banned words, lengths.

The table is read from docs/ARCHITECTURE.md. Exceptions stand in scripts/check_exceptions.txt, each with its reason; one
that is no longer needed is an error, too. The last line is "N passed, N failed, N skipped" (files).
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_FILE = 600
MAX_FUNCTION = 60
CPP = {".h", ".cc", ".inc"}
CODE = CPP | {".rs", ".py", ".sh", ".cmake"}
TEXT = CODE | {".md", ".txt", ".json", ".toml", ".yml", ""}
STANDARD = re.compile(r"[a-z_]+$|(arpa|net|netinet|sys)/\w+\.h$|"
                      r"(dirent|errno|fcntl|poll|pthread|pwd|sched|signal|stdbool|stddef|stdint|string|termios|unistd)\.h$|"
                      r"(arm_neon|cpuid|immintrin|xmmintrin)\.h$")
# Pieces are joined here so that this file doesn't trip over itself.
BANNED = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b"), TEXT, "an open end: finish it or write an issue"),
    (re.compile("-march=" "native"), CODE | {".json", ".toml", ".txt"}, "builds for the machine at hand"),
    (re.compile(r"(?<![\w.$}~>])/(wo" r"rk/(main|tmp|shared)|o" r"pt/(oracle|models|wheels)|ro" r"ot/\.)"), TEXT,
     "a path of one machine"),
    (re.compile(r"\b(py" r"pi\.org|python" r"hosted\.org|crates" r"\.io|deb\.deb" r"ian\.org)\b"), TEXT,
     "a registry's host: pip, cargo and apt know theirs"),
]
NOT_OURS = ("LICENSE", "textlib/Cargo.lock", "tests/golden/", "fuzz/corpus/")


def source_files():
    try:
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                                capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")
                  if not {"build", ".git", "target", ".cache", "__pycache__"} & set(path.relative_to(ROOT).parts)]
    for name in sorted(set(listed)):
        path = ROOT / name
        if path.is_file() and path.suffix in TEXT and (path.suffix in CODE or not name.startswith(NOT_OURS)):
            yield name, path


def include_table():
    """folder -> set of folders and headers that it may include; None stands for all."""
    page = (ROOT / "docs/ARCHITECTURE.md").read_text()
    body = page.split("<!-- include-table -->")[1].split("<!-- /include-table -->")[0]
    table = {}
    for line in body.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 2 or cells[0] in ("folder", "---"):
            continue
        if cells[1] == "all":
            table[cells[0]] = None
        else:
            table[cells[0]] = {entry.strip() for entry in cells[1].split(",") if entry.strip() not in ("–", "")}
    return table


def cmake_problems(table):
    """The USES lists have to say the same as the table."""
    for path in sorted(ROOT.glob("src/*/CMakeLists.txt")):
        folder = path.parent.name
        name = str(path.relative_to(ROOT))
        if folder not in table:
            yield name, "table", f"{folder} has no row in docs/ARCHITECTURE.md"
            continue
        call = re.search(r"kinglet_module\(\s*\w+([^)]*)\)", path.read_text())
        if table[folder] is None or not call:
            continue
        uses = re.search(r"\bUSES\b(.*?)(?=\b(?:LINK|TEST_LINK)\b|$)", call.group(1), re.S)
        found = set(uses.group(1).split()) if uses else set()
        expected = {entry.split("/")[0] for entry in table[folder]}
        if found != expected:
            yield name, "table", f"USES {sorted(found)}, the table says {sorted(expected)}"


def include_problems(name, lines, table):
    parts = name.split("/")
    folder = parts[1] if parts[0] == "src" else None
    test = "test" in parts[-1] or parts[-1].startswith("fake_")
    for number, line in enumerate(lines, 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        kind, target = found.groups()
        where = f"line {number}: "
        if kind == "<":
            public = target.startswith("kinglet/")
            if name.endswith(".h") and not test and not public and not STANDARD.match(target):
                yield "third-party", f"{where}<{target}> in a header; include it in a .cc file"
            continue
        first = target.split("/")[0]
        if parts[0] == "include" and not target.startswith("kinglet/"):
            yield "table", f'{where}a public header includes "{target}"'
        if folder is None or folder not in table or first not in table or first == folder or table[folder] is None:
            continue
        if first not in table[folder] and target not in table[folder]:
            yield "table", f'{where}{folder} may not include "{target}"'


def code_only(text):
    """The text without comments, literals and preprocessor lines; line breaks stay."""
    def blank(found):
        return "\n" * found.group(0).count("\n") if found.group(0).startswith(("/", "#")) else '""'
    text = re.sub(r'R"(\w*)\(.*?\)\1"', lambda found: '""' + "\n" * found.group(0).count("\n"), text, flags=re.S)
    text = re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def is_function(head):
    """Whether what stands before a brace opens a function's body."""
    return ("(" in head and not re.match(r"\s*(namespace|class|struct|enum|union|if|for|while|switch|do|else)\b", head)
            and not re.search(r"=\s*$", head) and "=" not in head.split("(")[0].replace("operator=", ""))


def function_problems(lines):
    """Bodies longer than the limit. Those inside of another body (lambdas) count with it."""
    text = code_only("\n".join(lines))
    number, depth, head, began = 1, 0, "", None
    for letter in text:
        if letter == "\n":
            number += 1
        if letter == "{":
            depth += 1
            if began is None and is_function(head):
                began = (depth, number)
        elif letter == "}":
            if began and began[0] == depth:
                if number - began[1] - 1 > MAX_FUNCTION:
                    yield "function", f"line {began[1]}: a body of {number - began[1] - 1} lines (limit {MAX_FUNCTION})"
                began = None
            depth -= 1
        head = "" if letter in "{};" else head + letter


def text_problems(name, path, lines):
    for pattern, suffixes, why in BANNED:
        if path.suffix not in suffixes:
            continue
        for number, line in enumerate(lines, 1):
            if pattern.search(line):
                yield "word", f'line {number}: "{pattern.search(line).group(0)}": {why}'
    if path.suffix in CODE and len(lines) > MAX_FILE:
        yield "length", f"{len(lines)} lines (limit {MAX_FILE})"
    if path.suffix == ".h" and not (lines and lines[0].startswith(("//", "/*"))):
        yield "opening", "a header opens with a comment: what it is for, and what not"
    if path.suffix == ".h" and not any(line.startswith(("#pragma once", "#ifndef ")) for line in lines):
        yield "opening", "no include guard"


def exceptions():
    path = ROOT / "scripts/check_exceptions.txt"
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.strip() and not line.startswith("#"):
            name, rule, reason = line.split(maxsplit=2)
            found[(name, rule)] = reason
    return found


def main():
    table = include_table()
    allowed = exceptions()
    used = set()
    problems = list(cmake_problems(table))
    checked = 0
    for name, path in source_files():
        checked += 1
        lines = path.read_text(errors="replace").splitlines()
        found = list(text_problems(name, path, lines))
        if path.suffix in CPP:
            found += include_problems(name, lines, table)
            found += function_problems(lines)
        problems += [(name, rule, text) for rule, text in found]
    bad = set()
    for name, rule, text in problems:
        if (name, rule) in allowed:
            used.add((name, rule))
            continue
        bad.add(name)
        print(f"{name}: {text}")
    for name, rule in sorted(set(allowed) - used):
        bad.add("scripts/check_exceptions.txt")
        print(f"scripts/check_exceptions.txt: {name} {rule} is no longer needed")
    print(f"{max(checked - len(bad), 0)} passed, {len(bad)} failed, 0 skipped")
    return 1 if bad or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
