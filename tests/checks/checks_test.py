"""The checks of scripts/ catch what they are for, and the numbers that ./test counts are right."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import check_includes  # noqa: E402
import count_results  # noqa: E402


def rules(problems):
    return sorted({rule for rule, _ in problems})


class SourceText(unittest.TestCase):
    def setUp(self):
        self.table = check_includes.include_table()

    def includes(self, name, *lines):
        return rules(check_includes.include_problems(name, list(lines), self.table))

    def test_the_table_is_read(self):
        self.assertEqual(self.table["base"], set())
        self.assertIsNone(self.table["cli"])
        self.assertIn("formats/checkpoint.h", self.table["families"])

    def test_includes_outside_of_the_row(self):
        self.assertEqual(self.includes("src/nn/a.cc", '#include "kernels/ops.h"', '#include "nn/b.h"'), [])
        self.assertEqual(self.includes("src/nn/a.cc", '#include "cache/pool.h"'), ["table"])
        self.assertEqual(self.includes("src/base/a.h", '#include "formats/gguf.h"'), ["table"])
        self.assertEqual(self.includes("src/families/a.cc", '#include "formats/checkpoint.h"'), [])
        self.assertEqual(self.includes("src/families/a.cc", '#include "formats/gguf.h"'), ["table"])
        self.assertEqual(self.includes("src/cli/a.cc", '#include "nn/model.h"'), [])
        self.assertEqual(self.includes("include/kinglet/a.h", '#include "engine/engine.h"'), ["table"])

    def test_third_party_headers_in_headers(self):
        self.assertEqual(self.includes("src/base/a.h", "#include <vector>", "#include <sys/mman.h>"), [])
        self.assertEqual(self.includes("src/base/a.h", "#include <fmt/format.h>"), ["third-party"])
        self.assertEqual(self.includes("src/base/a.cc", "#include <fmt/format.h>"), [])

    def test_words(self):
        def words(name, line):
            return rules(check_includes.text_problems(name, pathlib.Path(name), ["// x", "#pragma once", line]))

        self.assertEqual(words("src/a.h", "// TO" + "DO: later"), ["word"])
        self.assertEqual(words("cmake/a.cmake", "-march=" + "native"), ["word"])
        self.assertEqual(words("docs/a.md", "see /wo" + "rk/main/x"), ["word"])
        self.assertEqual(words("src/a.h", "int home_work = 1;  // a/wo" + "rk/b"), [])

    def test_lengths(self):
        def functions(*lines):
            return rules(check_includes.function_problems(list(lines)))

        body = ["  f();"] * (check_includes.MAX_FUNCTION + 1)
        self.assertEqual(functions("void f(", "    int a) {", *body, "}"), ["function"])
        self.assertEqual(functions("class A {", " public:", "  A() : b_(1) {", *body, "  }", "};"), ["function"])
        self.assertEqual(functions("namespace a {", *["int x;"] * 99, "}"), [])
        self.assertEqual(functions("const T kTable[] = {", *["    {1, f(2)},"] * 99, "};"), [])
        self.assertEqual(functions("void f() {", *body[1:], "}", "void g() {", *body[1:], "}"), [])
        self.assertEqual(functions("void f() {", "  const char x = '{';", '  g("}{");', *body[3:], "}"), [])
        long_file = ["// x", "#pragma once"] + ["int x;"] * check_includes.MAX_FILE
        self.assertEqual(rules(check_includes.text_problems("a.h", pathlib.Path("a.h"), long_file)), ["length"])


class Libm(unittest.TestCase):
    def check(self, body):
        with tempfile.TemporaryDirectory() as folder:
            library = pathlib.Path(folder) / "src/kernels"
            library.mkdir(parents=True)
            source, piece = library / "a.cc", library / "a.o"
            source.write_text(f"#include <cmath>\nfloat f(float x, float y) {{ return {body}; }}\n")
            subprocess.run(["g++", "-O2", "-c", str(source), "-o", str(piece)], check=True)
            subprocess.run(["ar", "rc", str(library / "libkinglet_kernels.a"), str(piece)], check=True)
            return subprocess.run([str(ROOT / "scripts/check_libm.sh"), folder], capture_output=True, text=True,
                                  check=False)

    def test_what_differs_between_machines_is_found(self):
        for body in ("std::exp(x)", "std::pow(x, y)", "std::fma(x, y, x)", "static_cast<float>(std::sin(double(x)))"):
            with self.subTest(body=body):
                done = self.check(body)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn("a.o calls", done.stdout)

    def test_what_is_exact_is_allowed(self):
        self.assertEqual(self.check("std::sqrt(x) + std::floor(y)").returncode, 0)

    def test_nothing_to_check_is_no_success(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertNotEqual(subprocess.run([str(ROOT / "scripts/check_libm.sh"), folder], check=False,
                                               stdout=subprocess.DEVNULL).returncode, 0)


class Counting(unittest.TestCase):
    def count(self, code, log="", **files):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder)
            for name, text in files.items():
                (results / f"{name}.json").write_text(text)
            (results / "log").write_text(log)
            totals, remarks = count_results.count(code, results / "log", results)
            return tuple(totals), len(remarks)

    @staticmethod
    def cases(*outcomes):
        suite = [{"name": str(i), "status": "RUN", "result": "SKIPPED" if outcome == "skipped" else "COMPLETED",
                  **({"failures": [{}]} if outcome == "failed" else {})} for i, outcome in enumerate(outcomes)]
        return json.dumps({"testsuites": [{"name": "S", "testsuite": suite}]})

    def test_cases_are_added_up(self):
        self.assertEqual(self.count(0, a=self.cases("passed", "passed"), b=self.cases("passed", "skipped")), ((3, 0, 1), 1))
        self.assertEqual(self.count(1, a=self.cases("failed", "passed")), ((1, 1, 0), 1))

    def test_a_crash_is_a_failure(self):
        self.assertEqual(self.count(139), ((0, 1, 0), 1))
        self.assertEqual(self.count(139, a=self.cases("passed")), ((1, 1, 0), 1))
        self.assertEqual(self.count(0, a="{"), ((0, 1, 0), 1))

    def test_nothing_checked_is_a_failure(self):
        self.assertEqual(self.count(0, a=json.dumps({"testsuites": []}), log="0 passed, 0 failed, 0 skipped\n"),
                         ((0, 1, 0), 1))

    def test_parts_without_cases(self):
        self.assertEqual(self.count(0, "fine\n"), ((1, 0, 0), 0))
        self.assertEqual(self.count(0, "x\n5 passed, 0 failed, 2 skipped\n"), ((5, 0, 2), 0))
        self.assertEqual(self.count(1, "5 passed, 3 failed, 2 skipped\n"), ((5, 3, 2), 0))
        self.assertEqual(self.count(77, "SKIPPED: no network\n"), ((0, 0, 1), 1))


if __name__ == "__main__":
    unittest.main()
