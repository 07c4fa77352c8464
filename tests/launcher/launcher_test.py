"""./kinglet on a small stand-in tree: what it builds, when it builds again, what it says when a step fails.

The commands that would change the machine (apt-get, sudo) are stand-ins, too, that write down how they were called.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CMAKE = """cmake_minimum_required(VERSION 3.25)
project(StandIn LANGUAGES CXX)
file(GLOB sources CONFIGURE_DEPENDS src/cli/*.cc)
add_executable(kinglet ${sources})
set_target_properties(kinglet PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
"""
MAIN = """#include <cstdio>
int main(int count, char** words) {
  std::printf("%s", TEXT);
  for (int i = 1; i < count; ++i) std::printf(" [%s]", words[i]);
  std::puts("");
  return 7;
}
"""


class Launcher(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="kinglet launcher ")  # a space on purpose
        self.addCleanup(self.scratch.cleanup)
        self.base = pathlib.Path(self.scratch.name)
        self.tree = self.base / "tree"
        (self.tree / "src/cli").mkdir(parents=True)
        (self.tree / "scripts").mkdir()
        shutil.copy(ROOT / "kinglet", self.tree)
        shutil.copy(ROOT / "CMakePresets.json", self.tree)
        for name in ("bootstrap.sh", "packages.txt"):
            shutil.copy(ROOT / "scripts" / name, self.tree / "scripts")
        (self.tree / "CMakeLists.txt").write_text(CMAKE)
        self.write_main("one")
        self.bin = self.base / "bin"
        self.bin.mkdir()

    def write_main(self, text):
        (self.tree / "src/cli/main.cc").write_text(f'#define TEXT "{text}"\n' + MAIN)

    def stand_in(self, name, script):
        path = self.bin / name
        path.write_text("#!/bin/bash\n" + script)
        path.chmod(0o755)

    def environment(self, **more):
        return {**os.environ, "KINGLET_NO_INSTALL": "1", **more, "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def launch(self, *words, program=None, cwd="/", **more):
        return subprocess.run([str(program or self.tree / "kinglet"), *words], cwd=cwd, env=self.environment(**more),
                              capture_output=True, text=True, timeout=120, check=False)

    def assert_says(self, done, text):
        self.assertEqual((done.returncode, done.stdout), (7, text + "\n"), done.stderr)


class Building(Launcher):
    def test_builds_once_then_becomes_the_program(self):
        first = self.launch("a", "b c")
        self.assert_says(first, "one [a] [b c]")
        self.assertIn("building", first.stderr)
        self.assertLess(len(first.stderr.splitlines()), 10, first.stderr)
        second = self.launch("a")
        self.assert_says(second, "one [a]")
        self.assertEqual(second.stderr, "")

    def test_adds_less_than_50_ms(self):
        self.launch()
        binary = self.tree / "build/release/kinglet"

        def best(command):
            times = []
            for _ in range(15):
                began = time.perf_counter()
                subprocess.run(command, env=self.environment(), stdout=subprocess.DEVNULL, check=False)
                times.append(time.perf_counter() - began)
            return min(times)

        # As many files as the real tree has.
        for number in range(400):
            (self.tree / "src" / f"file{number}.h").write_text("")
        self.launch()
        self.assertLess(best([str(self.tree / "kinglet")]) - best([str(binary)]), 0.05)

    def test_works_through_links_and_from_any_folder(self):
        self.launch()
        link = self.base / "link"
        link.symlink_to(self.tree / "kinglet")
        chain = self.base / "chain"
        chain.symlink_to("link")
        self.assert_says(self.launch(program=chain, cwd=self.tree / "src"), "one")
        done = subprocess.run(["bash", "kinglet"], cwd=self.tree, env=self.environment(), capture_output=True, text=True,
                              check=False)
        self.assert_says(done, "one")

    def test_builds_again_when_sources_change(self):
        self.launch()
        time.sleep(0.02)
        self.write_main("two")
        self.assert_says(self.launch(), "two")
        extra = self.tree / "src/cli/extra.cc"
        extra.write_text("#error new file\n")
        self.assertNotEqual(self.launch().returncode, 7)
        extra.unlink()
        self.assert_says(self.launch(), "two")

    def test_a_deleted_source_is_noticed(self):
        extra = self.tree / "src/cli/extra.cc"
        extra.write_text("int unused_number = 1;\n")
        self.launch()
        log = self.tree / "build/logs/build-release.log"
        log.unlink()
        self.assert_says(self.launch(), "one")
        self.assertFalse(log.exists())
        extra.unlink()
        self.assert_says(self.launch(), "one")
        self.assertTrue(log.exists())  # it was built again

    def test_a_tree_that_was_moved_builds_anew(self):
        self.launch()
        moved = self.base / "moved"
        self.tree.rename(moved)
        self.assert_says(self.launch(program=moved / "kinglet"), "one")
        self.assertTrue((moved / "build/release/kinglet").exists())

    def test_two_at_once(self):
        runs = [subprocess.Popen([str(self.tree / "kinglet"), str(i)], env=self.environment(), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True) for i in range(4)]
        for i, run in enumerate(runs):
            out, err = run.communicate(timeout=120)
            self.assertEqual((run.returncode, out), (7, f"one [{i}]\n"), err)
        self.assert_says(self.launch(), "one")

    def test_stopped_by_ctrl_c_then_goes_on(self):
        compiler = self.bin / "slow"
        self.stand_in("slow", 'touch "$(dirname "$0")/begun"; sleep 30')
        (self.tree / "CMakeLists.txt").write_text(CMAKE + 'add_custom_command(OUTPUT never COMMAND "' + str(compiler) +
                                                  '" VERBATIM)\nadd_custom_target(wait DEPENDS never)\n'
                                                  'add_dependencies(kinglet wait)\n')
        run = subprocess.Popen([str(self.tree / "kinglet")], env=self.environment(), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
        deadline = time.time() + 60
        while not (self.bin / "begun").exists() and time.time() < deadline:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        _, err = run.communicate(timeout=20)
        self.assertEqual(run.returncode, 130, err)
        self.assertIn("stopped", err)
        (self.tree / "CMakeLists.txt").write_text(CMAKE)
        self.assert_says(self.launch(), "one")


class Failures(Launcher):
    def test_a_build_that_fails_shows_why_and_runs_nothing(self):
        self.launch()
        (self.tree / "src/cli/main.cc").write_text("int main() { return mistake; }\n")
        for _ in range(2):  # and the second start doesn't take the old program for a new one
            done = self.launch()
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("the build failed", done.stderr)
            self.assertIn("mistake", done.stderr)
            self.assertIn("build-release.log", done.stderr)

    def test_a_failing_configuration_is_named(self):
        (self.tree / "CMakeLists.txt").write_text(CMAKE + "find_package(Nowhere REQUIRED)\n")
        done = self.launch()
        self.assertEqual(done.returncode, 1)
        self.assertIn("cmake could not configure", done.stderr)
        self.assertIn("Nowhere", done.stderr)

    def test_a_folder_that_cant_be_written(self):
        (self.tree / "build").write_text("a file where the folder should be")
        done = self.launch()
        self.assertEqual(done.returncode, 1)
        self.assertIn("can't write", done.stderr)

    def test_an_old_cargo_counts_as_none(self):
        self.stand_in("cargo", "echo cargo 1.63.0")
        done = self.launch(HOME=str(self.base))
        if pathlib.Path("/usr/bin/cargo").exists():
            self.assert_says(done, "one")  # Debian's, found behind it
        else:
            self.assertIn("Rust 1.", done.stderr)
            self.assertEqual(done.returncode, 1)


class Packages(Launcher):
    def setUp(self):
        super().setUp()
        self.calls = self.base / "calls"
        for name in ("apt-get", "sudo"):
            self.stand_in(name, f'echo "{name} $*" >>"{self.calls}"; [ {name} = apt-get ] || shift; '
                          f'[ {name} = apt-get ] || exec "$@"; exit ${{APT_STATUS:-0}}')
        self.stand_in("dpkg-query", 'shift 2; for i in "$@"; do [ "$i" = libfmt-dev ] || printf "installed=%s " "$i"; done')
        self.stand_in("id", 'echo "${USER_ID:-0}"')

    def launch(self, *words, system="ID=debian\nVERSION_ID=12\n", **more):
        release = self.base / "os-release"
        release.write_text(system)
        return super().launch(*words, KINGLET_NO_INSTALL="", KINGLET_OS_RELEASE=str(release), **more)

    def test_installs_only_what_is_missing(self):
        done = self.launch()
        self.assert_says(done, "one")
        self.assertIn("libfmt-dev", done.stderr)
        calls = self.calls.read_text().splitlines()
        self.assertIn(" update", calls[0])
        self.assertTrue(calls[1].endswith("install --no-install-recommends libfmt-dev"), calls)
        self.assertNotIn("sudo", self.calls.read_text())

    def test_uses_sudo_only_where_not_root(self):
        self.assert_says(self.launch(USER_ID="1000"), "one")
        self.assertTrue(self.calls.read_text().startswith("sudo -- env "), self.calls.read_text())

    def test_asks_nothing_when_up_to_date(self):
        self.launch()
        self.calls.unlink()
        self.assert_says(self.launch(), "one")
        self.assertFalse(self.calls.exists())

    def test_a_failing_installation_says_what_to_do(self):
        done = self.launch(APT_STATUS="100")
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt-get update failed", done.stderr)
        self.assertIn("network", done.stderr)

    def test_another_distribution_gets_the_names(self):
        for system in ("ID=fedora\nVERSION_ID=41\n", "ID=debian\nVERSION_ID=11\n", ""):
            done = self.launch(system=system)
            self.assertEqual(done.returncode, 1)
            self.assertIn("libfmt-dev", done.stderr)
            self.assertIn("KINGLET_NO_INSTALL", done.stderr)
            self.assertFalse(self.calls.exists())


if __name__ == "__main__":
    unittest.main()
