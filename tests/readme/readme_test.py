"""Runs the commands of README.md as a reader would, with the program of the dev preset as ./kinglet."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/dev/kinglet"
HOME = ROOT / "build/test-home"  # kept: the default model is fetched once
LIMIT_S = 120


def readme_commands():
    """The lines of the README's shell blocks."""
    text = (ROOT / "README.md").read_text()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M):
        for line in block.splitlines():
            line = line.split("  #")[0].strip()
            if line:
                yield line


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.commands = list(readme_commands())

    def run_command(self, command):
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "kinglet").symlink_to(PROGRAM)
            environment = {**os.environ, "KINGLET_HOME": str(HOME), "NO_COLOR": "1"}
            return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=LIMIT_S, check=False)

    def test_the_two_commands_are_there(self):
        self.assertIn('./kinglet run "Why is the sky blue?"', self.commands)
        self.assertIn("./test", self.commands)

    def test_every_command_works(self):
        ours = [command for command in self.commands if "./kinglet" in command]
        self.assertGreater(len(ours), 5)
        for command in ours:
            with self.subTest(command=command):
                done = self.run_command(command)
                print(f"$ {command}\n{done.stdout}{done.stderr}", flush=True)
                self.assertEqual(done.returncode, 0, done.stderr[-1000:])
                self.assertNotEqual(done.stdout.strip(), "")
                self.assertNotIn("\033", done.stdout + done.stderr)  # no escape codes into pipes

    def test_the_table_names_the_commands_that_exist(self):
        table = (ROOT / "README.md").read_text().split("## Commands")[1].split("##")[0]
        named = set()
        for cell in re.findall(r"^\| (.*?) \|", table, re.M):
            named.update(re.findall(r"`([a-z]+)\b", cell))
        self.assertGreater(len(named), 8)
        for name in sorted(named):
            with self.subTest(command=name):
                done = self.run_command(f"./kinglet {name} --help")
                self.assertEqual(done.returncode, 0, done.stderr[-1000:])
                self.assertIn(name, done.stdout)

    def test_links_lead_somewhere(self):
        for page in ("README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md", "SECURITY.md"):
            for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
                with self.subTest(page=page, target=target):
                    self.assertTrue(((ROOT / page).parent / target).exists())

    @unittest.skipUnless(os.environ.get("KINGLET_TEST_LEVEL") == "full", "builds the release preset: ./test full")
    def test_building_by_hand(self):
        command = next(command for command in self.commands if command.startswith("cmake --preset"))
        done = subprocess.run(["bash", "-c", command + " && build/release/kinglet version"], cwd=ROOT, capture_output=True,
                              text=True, timeout=1500, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])


if __name__ == "__main__":
    unittest.main()
