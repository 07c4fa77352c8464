#!/usr/bin/env python3
"""Runs one file of unittest cases; the last line is what ./test counts: N passed, N failed, N skipped."""
import importlib.util
import pathlib
import signal
import sys
import unittest


def main():
    # Where ./test runs in the background of a script, SIGINT is ignored, and programs inherit that: a test that sends one
    # would wait for ever. With a handler here they start with the default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path = pathlib.Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(path.parent))
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len({str(case) for case, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
