"""Every command of build/dev/kinglet from the outside, without a terminal: outputs, exit codes, what the
README and --help promise."""
import json
import os
import pathlib
import re
import resource
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cli_support import PROGRAM, REAL_MODEL, TINY, CliCase, Gguf, needs_real_model  # noqa: E402

COMMANDS = ["run", "pull", "list", "rm", "verify", "inspect", "tokenize", "render", "logits", "perplexity", "bench",
            "convert", "quantize", "imatrix", "preset", "completion", "version", "embed", "rerank", "serve"]
MALFORMED, USAGE, NOT_FOUND, UNSUPPORTED, NO_ROOM, NO_IO = 1, 2, 3, 4, 5, 6
TINY_MODEL = TINY / "llama-mqa.gguf"


def read_npy(data):
    """shape and floats of a float32 .npy file (format 1.0)."""
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    size, = struct.unpack_from("<H", data, 8)
    assert (10 + size) % 64 == 0
    header = eval(data[10:10 + size], {"__builtins__": {}})  # a Python literal, by definition of the format
    assert header["descr"] == "<f4" and header["fortran_order"] is False
    count = header["shape"][0] * header["shape"][1]
    assert len(data) == 10 + size + 4 * count
    return header["shape"], struct.unpack_from(f"<{count}f", data, 10 + size)


class Help(CliCase):
    def test_every_command_has_examples(self):
        listed = re.findall(r"^  ([a-z]+)(?:, [a-z]+)?  +\w", self.out("--help").split("Subcommands:")[1], re.M)
        self.assertEqual(sorted(listed), sorted(COMMANDS))
        for command in COMMANDS:
            with self.subTest(command=command):
                text = self.out(command, "--help")
                self.assertIn("Examples:", text)
                self.assertIn(f"kinglet {command}", text.split("Examples:")[1])
                for line in text.splitlines():
                    self.assertLessEqual(len(line), 120, line)

    def test_preset_subcommands(self):
        for command in ("save", "show", "list", "rm"):
            self.assertIn("NAME" if command != "list" else "--json", self.out("preset", command, "--help"))

    def test_wrong_flags(self):
        for arguments in ([], ["nosuch"], ["run", "--bogus"], ["run", "a", "b", "c"], ["tokenize"], ["bench", "-r", "0"],
                          ["run", "hi", "--threads", "-1"], ["run", "hi", "--compute", "int3"], ["list", "--jsn"],
                          ["logits", TINY_MODEL, "-o", "x"], ["bench", "m", "--limits"], ["render", "messages.json"],
                          ["logits", TINY_MODEL, "--tokens", "1", "--prompt", "a", "-o", "x"]):
            with self.subTest(arguments=arguments):
                message = self.error(USAGE, *arguments)
                self.assertIn("--help", message)

    def test_mistyped_words_suggest(self):
        self.assertIn('"inspct" is no command; the nearest are inspect', self.error(USAGE, "inspct", "model.gguf"))
        for arguments in (["run", "m", "hi", "--max-tokns", "5"], ["--max-tokns", "run", "m"], ["run", "--max-tokns=5"]):
            self.assertIn("--max-tokns", self.error(USAGE, *arguments))
        self.assertIn("the nearest are --max-tokens", self.error(USAGE, "run", "m", "hi", "--max-tokns", "5"))
        self.assertIn("goes into quotes", self.error(USAGE, "run", "m", "why", "is", "it"))

    def test_values_out_of_range(self):
        for flags in (["--ctx", "1e30"], ["--ctx", "99999999999999999999"], ["--ctx", "9223372036854775807"], ["--ctx", "-1"],
                      ["-t", "10000"], ["-n", "0"], ["-n", "9223372036854775807"], ["--seed", "-1"], ["--seed", "1.5"], ["--ctx"]):
            with self.subTest(flags=flags):
                self.error(USAGE, "run", TINY_MODEL, "hi", *flags)


class Version(CliCase):
    def test_text_and_json(self):
        self.assertRegex(self.out("version"), r"^kinglet \d+\.\d+\.\d+\n")
        facts = json.loads(self.out("version", "--json"))
        self.assertIn(facts["isa"], facts["available_isa"])
        self.assertGreaterEqual(facts["threads"], 1)

    def test_forced_instruction_set(self):
        self.assertEqual(json.loads(self.out("version", "--json", env={"KINGLET_ISA": "portable"}))["isa"], "portable")
        self.assertIn("portable", self.error(UNSUPPORTED, "version", env={"KINGLET_ISA": "z80"}))


class Models(CliCase):
    def test_an_empty_store(self):
        done = self.kinglet("list")
        self.assertEqual(done.stdout, "")
        self.assertIn("kinglet pull", done.stderr)
        self.assertEqual(json.loads(self.out("list", "--json")), [])
        self.assertIn("nosuch", self.error(NOT_FOUND, "rm", "nosuch"))

    def test_unknown_names_suggest(self):
        self.assertIn("did you mean smollm2", self.error(NOT_FOUND, "run", "smolm2", "hello"))
        self.assertIn("kinglet run smollm2 smolm2", self.error(NOT_FOUND, "run", "smolm2", text_in="x"))
        self.assertIn("no model is called", self.error(NOT_FOUND, "inspect", "nosuch:1b"))
        self.assertIn("no such file", self.error(NOT_FOUND, "run", "./nosuch.gguf", "hello"))

    def test_offline_says_so(self):
        self.assertIn("HF_HUB_OFFLINE", self.error(7, "pull", "qwen3:0.6b"))

    def test_a_corrupt_store(self):
        broken = self.folder / "store/models/ready/broken"
        broken.mkdir(parents=True)
        (broken / "manifest.json").write_text("{")
        done = self.kinglet("list")
        self.assertIn("broken", done.stderr)
        self.kinglet("inspect", "broken", expect=None)
        self.assertNotEqual(self.kinglet("inspect", "broken", expect=None).returncode, 0)
        self.kinglet("rm", "broken")
        self.assertFalse(broken.exists())

    def test_truncated_files(self):
        whole = TINY_MODEL.read_bytes()
        for size in (0, 3, 20, 1000, len(whole) - 1):
            path = self.file("cut.gguf", whole[:size])
            for command in (["inspect", path], ["logits", path, "--tokens", "1", "-o", "x.npy"]):
                with self.subTest(size=size, command=command[0]):
                    self.assertIn("cut.gguf", self.error(MALFORMED, *command))
        (self.folder / "empty").mkdir()
        self.assertIn("empty", self.kinglet("inspect", self.folder / "empty", expect=None).stderr)


class Inspect(CliCase):
    def test_text(self):
        text = self.out("inspect", TINY_MODEL, "--tensors", "--metadata")
        for word in ("family", "memory plan", "weights", "KV cache", "instruction set", "compute", "int8", "metadata",
                     "general.architecture", "token_embd.weight"):
            self.assertIn(word, text)

    def test_json(self):
        facts = json.loads(self.out("inspect", TINY_MODEL, "--json", "--tensors", "--metadata", "--kv", "q8_0", "--ctx", 64))
        self.assertEqual(facts["kv"], "q8_0")
        self.assertEqual(facts["metadata"]["general.architecture"], "llama")
        self.assertGreater(facts["memory"]["weight_bytes"], 0)
        self.assertEqual(sum(kind["tensors"] for kind in facts["types"].values()), len(facts["tensors"]))
        full = json.loads(self.out("inspect", TINY_MODEL, "--json", "--kv", "f32"))
        self.assertGreater(full["memory"]["kv_bytes_per_token"], facts["memory"]["kv_bytes_per_token"])

    def test_layers_and_tensors(self):
        folder = TINY.parent / "hf/deepseek-v3-mtp"
        spec = json.loads(self.out("inspect", folder, "--json"))["spec"]
        self.assertIn("latent attention", spec["layer_groups"][0]["what"])
        self.assertIn("sigmoid", spec["layer_groups"][-1]["what"])
        self.assertTrue(spec["kept_for_speculation"])
        self.assertEqual(spec["ignored_tensors"], [])
        for word in ("for speculation", "used tensors", "layers 0"):
            self.assertIn(word, self.out("inspect", folder))

    def test_layers_of_deepseek_v4(self):
        spec = json.loads(self.out("inspect", TINY.parent / "hf/deepseek-v4-released", "--json"))["spec"]
        window, chosen, heavy = (group["what"] for group in spec["layer_groups"])
        self.assertIn("window 20, 8 rotated, sinks, 4 experts of 32 (3 used, square root of softplus, chosen by a table",
                      window)
        self.assertIn("an entry for 4 positions and the block before, chooses 8", chosen)
        self.assertIn("an entry for 128 positions, window 20", heavy)
        self.assertIn("3 residual streams", heavy)
        self.assertIn("mtp.0.attn.wkv.weight", spec["kept_for_speculation"])
        self.assertEqual(spec["ignored_tensors"], [])

    def test_a_plan(self):
        plans = TINY.parent.parent / "plans"
        rows = {row["name"]: row for row in json.loads((plans / "plans.json").read_text())["plans"]}
        path = plans / rows["deepseek-v3"]["config"]
        plan = json.loads(self.out("inspect", "--plan", path, "--type", "Q4_K_M", "--ctx", 32768, "--json"))
        self.assertEqual(plan["parameters"], rows["deepseek-v3"]["parameters"])
        self.assertEqual(plan["active_parameters"], rows["deepseek-v3"]["active"])
        self.assertTrue(4.5 < plan["bits_per_weight"] < 5.2, plan)
        self.assertEqual(plan["kv_bytes"], plan["kv_bytes_per_token"] * 32768)
        larger = json.loads(self.out("inspect", "--plan", path, "--type", "q8_0", "--ctx", 32768, "--kv", "q8_0", "--json"))
        self.assertGreater(larger["file_bytes"], plan["file_bytes"])
        self.assertLess(larger["kv_bytes"], plan["kv_bytes"])
        for word in ("active", "recurrent state", "total"):
            self.assertIn(word, self.out("inspect", "--plan", plans / "configs/qwen3-next-80b-a3b.json"))
        self.assertIn("Q4_K_M", self.error(MALFORMED, "inspect", "--plan", path, "--type", "Q4_K_X"))
        self.assertIn("architectures", self.error(MALFORMED, "inspect", "--plan", self.file("config.json", b"{}")))

    def test_a_folder(self):
        self.assertEqual(json.loads(self.out("inspect", TINY.parent / "hf/llama-mqa", "--json"))["format"], "huggingface")


class Logits(CliCase):
    def logits(self, *arguments):
        self.kinglet("logits", TINY_MODEL, "-o", "out.npy", *arguments)
        self.assertEqual(list(self.folder.glob("out.npy.*")), [])
        return (self.folder / "out.npy").read_bytes()

    def test_the_same_bits(self):
        tokens = " ".join(str(i * 7 % 50) for i in range(70))
        first = self.logits("--tokens", tokens)
        shape, values = read_npy(first)
        self.assertEqual(shape[0], 70)
        self.assertTrue(all(abs(value) < 1e3 for value in values))
        for arguments in (["--chunk", 1], ["--chunk", 7], ["--chunk", 64], ["-t", 1], ["-t", 2], ["-t", 0], ["--isa", "portable"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.logits("--tokens", tokens, *arguments), first)
        self.assertEqual(read_npy(self.logits("--tokens", tokens, "--compute", "f32"))[0], shape)
        piped = self.kinglet("logits", TINY_MODEL, "-o", "-", "--tokens", tokens, binary=True)
        self.assertEqual(piped.stdout, first)

    def test_bad_tokens(self):
        self.assertIn("expected numbers", self.error(MALFORMED, "logits", TINY_MODEL, "--tokens", "1 x", "-o", "o"))
        self.assertIn("vocabulary", self.error(MALFORMED, "logits", TINY_MODEL, "--tokens", "1 99999999", "-o", "o"))
        self.assertIn("vocabulary", self.error(MALFORMED, "logits", TINY_MODEL, "--tokens", "-5", "-o", "o"))
        self.error(MALFORMED, "logits", TINY_MODEL, "--tokens", "", "-o", "o")
        self.assertFalse((self.folder / "o").exists())

    def test_no_space_left(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        message = self.error(NO_IO, "logits", TINY_MODEL, "--tokens", "1 2 3 " * 40, "-o", "o.npy", preexec_fn=small_files)
        self.assertIn("o.npy", message)
        self.assertEqual(list(self.folder.glob("o.npy*")), [])
        if pathlib.Path("/dev/full").exists():
            with open("/dev/full", "wb") as full:
                done = subprocess.run([PROGRAM, "logits", TINY_MODEL, "--tokens", "1 2", "-o", "-"], stdout=full,
                                      stderr=subprocess.PIPE, env=self.environment, check=False)
            self.assertEqual(done.returncode, NO_ROOM)
            self.assertIn(b"No space left", done.stderr)

    def test_no_write_permission(self):
        os.chmod(self.folder, 0o555)
        self.addCleanup(os.chmod, self.folder, 0o755)
        message = self.error(NO_IO, "logits", TINY_MODEL, "--tokens", "1 2", "-o", "o.npy", bound_by_modes=True)
        self.assertIn("Permission denied", message)
        self.assertIn("Permission denied", self.error(NO_IO, "preset", "save", "x", "--model", "y", bound_by_modes=True))

    def test_a_model_larger_than_memory(self):
        message = self.error(NO_ROOM, "logits", TINY_MODEL, "--tokens", "1 2", "-o", "o.npy", "--memory", "1kB")
        self.assertIn("weights", message)
        self.assertIn("no size", self.error(MALFORMED, "logits", TINY_MODEL, "--tokens", "1", "-o", "o", "--memory", "many"))


class Render(CliCase):
    TEMPLATE = ("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if tools %}{{ tools | tojson }}\n{% endif %}"
                "{% if mood is defined %}{{ mood }}\n{% endif %}{% if add_generation_prompt %}<assistant>{% endif %}")
    MESSAGES = json.dumps([{"role": "user", "content": "Hi <there> & \"you\" 😀"}])

    def test_exact_text(self):
        template, messages = self.file("t.jinja", self.TEMPLATE), self.file("m.json", self.MESSAGES)
        user = "<user>Hi <there> & \"you\" 😀\n"
        render = ["render", "--template", template, messages]
        self.assertEqual(self.out(*render), user + "<assistant>")
        self.assertEqual(self.out(*render, "--no-generation-prompt"), user)
        self.assertEqual(self.out(*render, "--arg", 'mood="calm"', "--no-generation-prompt"), user + "calm\n")
        tools = self.file("tools.json", '[{"type": "function", "function": {"name": "f"}}]')
        self.assertEqual(self.out(*render, "--tools", tools, "--no-generation-prompt"),
                         user + '[{"type": "function", "function": {"name": "f"}}]\n')
        self.assertEqual(self.out("render", "--template", template, "-", text_in=self.MESSAGES), user + "<assistant>")

    def test_what_goes_wrong(self):
        messages = self.file("m.json", self.MESSAGES)
        failing = self.file("f.jinja", "{{ raise_exception('roles must alternate') }}")
        self.assertIn("roles must alternate", self.error(MALFORMED, "render", "--template", failing, messages))
        self.error(MALFORMED, "render", "--template", self.file("s.jinja", "{% if"), messages)
        fine = self.file("t.jinja", self.TEMPLATE)
        self.error(MALFORMED, "render", "--template", fine, self.file("bad.json", "{nonsense"))
        self.assertIn("NAME=JSON", self.error(MALFORMED, "render", "--template", fine, messages, "--arg", "mood"))
        self.error(NOT_FOUND, "render", "--template", fine, "nosuch.json")

    def test_render_ends_in_time(self):
        messages = self.file("m.json", self.MESSAGES)
        slow = self.file("slow.jinja", "{% set l = range(99999)|list %}{% for a in l %}{% if -1 in l %}{% endif %}{% endfor %}")
        self.assertIn("more than is allowed", self.error(NO_ROOM, "render", "--template", slow, messages))
        long = self.file("long.jinja", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
        for number in (signal.SIGINT, signal.SIGTERM):
            run = subprocess.Popen([PROGRAM, "render", "--template", long, messages], env=self.environment, stderr=subprocess.PIPE)
            time.sleep(0.2)
            run.send_signal(number)
            run.communicate(timeout=30)
            self.assertIn(run.returncode, (-number, 128 + number, NO_ROOM))


class Presets(CliCase):
    def test_save_show_list_rm(self):
        self.kinglet("preset", "save", "pirate", "--model", TINY_MODEL, "--system", "Arr.", "--temp", "0.5", "--ctx", 128,
                     "--top-k", 5, "--no-think")
        shown = json.loads(self.out("preset", "show", "pirate"))
        self.assertEqual((shown["system"], shown["temperature"], shown["context"], shown["think"]), ("Arr.", 0.5, 128, False))
        self.assertIn("pirate", self.out("preset", "list"))
        self.assertEqual([p["name"] for p in json.loads(self.out("preset", "list", "--json"))], ["pirate"])
        self.assertIn("llama", self.out("inspect", "pirate"))  # used wherever a model is named
        self.kinglet("logits", "pirate", "--tokens", "1 2", "-o", "o.npy")
        self.kinglet("preset", "rm", "pirate")
        self.assertIn("pirate", self.error(NOT_FOUND, "preset", "rm", "pirate"))
        self.assertIn("pirate", self.error(NOT_FOUND, "preset", "show", "pirate"))

    def test_a_full_disk_keeps_the_old_one(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        self.kinglet("preset", "save", "p", "--model", "old")
        self.assertIn("p.json", self.error(NO_IO, "preset", "save", "p", "--model", "new", "--system", "x" * 9000, preexec_fn=small_files))
        self.assertEqual(json.loads(self.out("preset", "show", "p"))["model"], "old")
        self.assertEqual(os.listdir(self.folder / ".config/kinglet/presets"), ["p.json"])

    def test_numbers_that_do_not_fit_are_no_preset(self):
        self.file(".config/kinglet/presets/half.json", '{"model": "m", "context": 1.5e300}')
        self.assertIn("context: found 1.5e+300", self.error(MALFORMED, "preset", "show", "half"))

    def test_bad_ones(self):
        self.assertIn("preset name", self.error(MALFORMED, "preset", "save", "../x", "--model", "y"))
        self.file(".config/kinglet/presets/odd.json", "{")
        self.assertIn("kinglet preset rm odd", self.error(MALFORMED, "preset", "show", "odd"))
        self.assertIn("odd", self.kinglet("preset", "list").stderr)


class ConfigurationFile(CliCase):
    def test_sections_and_precedence(self):
        self.file(".config/kinglet/config.toml", "[inspect]\nkv = \"q8_0\"\nctx = 64\n")
        self.assertEqual(json.loads(self.out("inspect", TINY_MODEL, "--json"))["kv"], "q8_0")
        self.assertEqual(json.loads(self.out("inspect", TINY_MODEL, "--json", "--kv", "f32"))["kv"], "f32")
        other = self.file("other.toml", "[inspect]\nkv = \"f32\"\n")
        self.assertEqual(json.loads(self.out("--config", other, "inspect", TINY_MODEL, "--json"))["kv"], "f32")
        self.assertEqual(json.loads(self.out("inspect", TINY_MODEL, "--json", env={"KINGLET_CONFIG": str(other)}))["kv"], "f32")

    def test_mistakes_are_told(self):
        self.assertIn("nonsense", self.error(USAGE, "--config", self.file("a.toml", "[inspect]\nnonsense = 1\n"), "inspect", TINY_MODEL))
        self.error(USAGE, "--config", self.file("b.toml", "[inspect]\nkv = \"f64\"\n"), "inspect", TINY_MODEL)
        self.error(USAGE, "--config", "nosuch.toml", "version")
        self.error(USAGE, "version", env={"KINGLET_CONFIG": "nosuch.toml"})


class Bench(CliCase):
    def test_json_fields(self):
        for isa in ("portable", ""):
            results = json.loads(self.out("bench", TINY_MODEL, "-p", "8,16", "-n", "4", "-d", "0,16", "-b", "1,3", "-r", "2", "-t", "1",
                                          "--isa", isa, "--kv", "q8_0", "-o", "json"))
            self.assertEqual([(r["test"], r["depth"], r["batch"]) for r in results],
                             [(test, depth, batch) for depth in (0, 16) for batch in (1, 3) for test in ("pp8", "pp16", "tg4")])
            for result in results:
                self.assertLessEqual({"model", "test", "depth", "batch", "threads", "isa", "compute", "kv",
                                      "tokens_per_second", "resident_bytes"}, set(result))
                self.assertGreaterEqual(result["resident_bytes"]["peak"], result["resident_bytes"]["anonymous"])
                speed = result["tokens_per_second"]
                self.assertEqual(set(speed), {"median", "min", "max"})
                self.assertTrue(0 < speed["min"] <= speed["median"] <= speed["max"])
                self.assertEqual((result["threads"], result["compute"], result["kv"]), (1, "int8", "q8_0"))
                self.assertEqual(result["isa"], isa or result["isa"])

    def test_table(self):
        text = self.out("bench", TINY_MODEL, "-p", "8", "-n", "4", "-r", "1")
        for word in ("pp8", "tg4", "tokens/s", "int8", "threads"):
            self.assertIn(word, text)

    def test_mistakes(self):
        self.error(MALFORMED, "bench", TINY_MODEL, "-p", "0", "-n", "0")
        self.assertIn("context", self.error(MALFORMED, "bench", TINY_MODEL, "-p", "8", "-d", "1000000", "-r", "1"))

    def test_limits(self):
        results = json.loads(self.out("bench", "--limits", "-t", "1", "-o", "json"))
        self.assertEqual([r["threads"] for r in results], [1])
        for key in ("read_gb_per_second", "int8_gop_per_second", "float_gflop_per_second"):
            self.assertGreater(results[0][key], 0)


class StandardStreams(CliCase):
    """Closed, full, or with nobody at the other end."""
    PRINTING = (["version"], ["--help"], ["inspect", "--help"], ["inspect", TINY_MODEL], ["completion", "bash"],
                ["logits", TINY_MODEL, "--tokens", "1 2", "-o", "-"], ["bench", TINY_MODEL, "-p", "4", "-n", "2", "-r", "1"])

    def shell(self, line, arguments):
        return subprocess.run(["bash", "-c", line, PROGRAM, *map(str, arguments)], env=self.environment, cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)

    def test_output_that_cannot_be_written_is_told(self):
        for arguments in self.PRINTING:
            with self.subTest(arguments=arguments):
                for line, code, words in (('"$0" "$@" >/dev/full', NO_ROOM, b"standard output: cannot be written: No space"),
                                          ('"$0" "$@" >&-', NO_IO, b"standard output: cannot be written: Bad file"),
                                          ('set -o pipefail; "$0" "$@" 2>errors | true', 141, b"")):
                    done = self.shell(line, arguments)
                    self.assertEqual(done.returncode, code, done.stderr)
                    self.assertIn(words, done.stderr)
                self.assertEqual((self.folder / "errors").read_bytes(), b"")

    def test_errors_that_cannot_be_told_change_nothing(self):
        for redirection in ("2>&-", "2>/dev/full"):
            with self.subTest(redirection=redirection):
                self.assertEqual(self.shell(f'"$0" "$@" {redirection}', ["list"]).returncode, 0)
                self.assertEqual(self.shell(f'"$0" "$@" {redirection}', ["inspect", "nosuch:1b"]).returncode, NOT_FOUND)

    def test_files_never_take_the_place_of_a_closed_stream(self):
        done = self.shell('"$0" "$@" >&- 2>&-', ["logits", TINY_MODEL, "--tokens", "1 2", "-o", "o.npy"])
        self.assertEqual(done.returncode, 0)
        read_npy((self.folder / "o.npy").read_bytes())
        self.assertIn(b"standard input: cannot be read", self.shell('"$0" "$@" <&-', ["imatrix", TINY_MODEL, "-", "-o", "o"]).stderr)


class OddFiles(CliCase):
    def test_devices_and_pipes_are_not_replaced(self):
        os.mkfifo(self.folder / "pipe")
        for command in (["logits", TINY_MODEL, "--tokens", "1 2", "-o", "pipe"], ["quantize", TINY_MODEL, "pipe", "Q8_0"]):
            self.assertIn("pipe", self.error(NO_IO, *command))
            self.assertTrue((self.folder / "pipe").is_fifo())
        self.assertIn("folder", self.error(NO_IO, "logits", TINY_MODEL, "--tokens", "1", "-o", self.folder))

    def test_names_that_are_no_utf8(self):
        copy = os.fsencode(self.folder) + b"/odd\xff.gguf"
        pathlib.Path(os.fsdecode(copy)).write_bytes(TINY_MODEL.read_bytes())
        self.assertEqual(json.loads(self.out("bench", os.fsdecode(copy), "-p", "4", "-n", "0", "-r", "1", "-o", "json"))[0]["test"], "pp4")
        self.assertIn("UTF-8", self.error(MALFORMED, "preset", "save", "odd", "--model", os.fsdecode(copy)))
        self.assertEqual(self.out("preset", "list"), "")

    def test_what_is_no_model(self):
        self.assertIn("web address", self.error(MALFORMED, "inspect", "https://example.org/m.gguf"))
        for command in (["inspect", ""], ["run", "", "hi"], ["pull", ""], ["bench", ""]):
            self.assertIn("empty", self.error(MALFORMED, *command))


class Completion(CliCase):
    def complete(self, *words):
        script = self.out("completion", "bash")
        line = " ".join(f"'{word}'" for word in words)
        probe = (f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _kinglet; "
                 "printf '%s\\n' \"${COMPREPLY[@]}\"")
        path = f"{PROGRAM.parent}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "-c", probe], env={**self.environment, "PATH": path}, cwd=self.folder,
                              capture_output=True, text=True, check=True)
        return done.stdout.split()

    def test_bash(self):
        subprocess.run(["bash", "-n"], input=self.out("completion", "bash"), text=True, check=True)
        self.assertEqual(self.complete("kinglet", "to"), ["tokenize"])
        self.assertEqual(self.complete("kinglet", "run", "--max"), ["--max-tokens"])
        self.assertEqual(self.complete("kinglet", "preset", "sa"), ["save"])

    def test_others(self):
        for shell in ("zsh", "fish"):
            script = self.out("completion", shell)
            for command in COMMANDS:
                self.assertIn(command, script)
        self.error(USAGE, "completion", "tcsh")


@needs_real_model
class RealModel(CliCase):
    """The default model's own text: about a second a call."""

    def run_model(self, *arguments, **options):
        return self.kinglet("run", REAL_MODEL, *arguments, **options)

    def test_tokenize(self):
        self.assertEqual(self.out("tokenize", REAL_MODEL, "Hello, world", "--ids"), "19556 28 905\n")
        self.assertEqual(self.out("tokenize", REAL_MODEL, "--ids", text_in="Hello, world"), "19556 28 905\n")
        tokens = json.loads(self.out("tokenize", REAL_MODEL, "Hello<|im_end|>", "--json"))
        self.assertEqual(tokens, [{"id": 19556, "text": "Hello"}, {"id": 2, "text": "<|im_end|>"}])
        self.assertNotIn(2, map(int, self.out("tokenize", REAL_MODEL, "<|im_end|>", "--ids", "--no-special").split()))
        self.assertIn('19556  "Hello"', self.out("tokenize", REAL_MODEL, "Hello"))
        self.assertEqual(self.out("tokenize", REAL_MODEL, "", "--ids").strip(), "")

    def test_vocabulary_only(self):
        path = self.file("vocabulary.gguf", Gguf(REAL_MODEL).vocabulary_only())
        self.assertEqual(self.out("tokenize", path, "Hello, world", "--ids"), "19556 28 905\n")
        self.assertIn("vocabulary", self.out("inspect", path))
        self.assertIn("tensor", self.kinglet("run", path, "hi", expect=None).stderr)

    def test_render(self):
        messages = self.file("m.json", '[{"role":"system","content":"S"},{"role":"user","content":"U"}]')
        self.assertEqual(self.out("render", REAL_MODEL, messages),
                         "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n")

    def test_prompt_from_argument_and_standard_input(self):
        greedy = ["--temp", 0, "-n", 12]
        first = self.run_model("Why is the sky blue?", *greedy).stdout
        self.assertGreater(len(first.strip()), 10)
        self.assertEqual(self.run_model(*greedy, text_in="Why is the sky blue?").stdout, first)
        self.assertEqual(self.run_model("Why is the sky blue?", *greedy, "-t", 1).stdout, first)
        self.assertEqual(self.out("run", "-m", REAL_MODEL, "Why is the sky blue?", *greedy), first)

    def test_seed_and_json(self):
        def answer(seed):
            return json.loads(self.run_model("Tell me a story.", "-n", 16, "--seed", seed, "--temp", 1.5, "--json").stdout)
        first, again, other = answer(7), answer(7), answer(8)
        self.assertEqual(first["text"], again["text"])
        self.assertNotEqual(first["text"], other["text"])
        self.assertEqual((first["seed"], first["finish_reason"], first["generated_tokens"]), (7, "length", 16))

    def test_stop_stats_and_schema(self):
        text = self.run_model("Count from one to ten in digits: 1, 2, 3", "--temp", 0, "-n", 40).stdout
        word = text.split()[3]
        cut = self.run_model("Count from one to ten in digits: 1, 2, 3", "--temp", 0, "-n", 40, "--stop", word, "--stats")
        self.assertEqual(cut.stdout.rstrip("\n"), text[:text.index(word)])
        self.assertRegex(cut.stderr, r"prompt \d+ tokens, [\d.]+ tokens/s; answer \d+ tokens, [\d.]+ tokens/s")
        schema = self.file("schema.json", json.dumps({
            "type": "object", "properties": {"name": {"type": "string", "maxLength": 10}, "old": {"type": "boolean"}},
            "required": ["name", "old"], "additionalProperties": False}))
        answer = json.loads(self.run_model("Describe Ada as JSON.", "--temp", 0, "-n", 80, "--format", schema).stdout)
        self.assertEqual(set(answer), {"name", "old"})
        self.error(MALFORMED, "run", REAL_MODEL, "x", "--format", self.file("bad.json", "{"))

    def test_thinking_flags_do_no_harm_without_thinking(self):
        plain = self.run_model("Say hello.", "--temp", 0, "-n", 8).stdout
        for flags in (["--think"], ["--no-think"], ["--hide-thinking"]):
            self.assertEqual(self.run_model("Say hello.", "--temp", 0, "-n", 8, *flags).stdout, plain)

    def test_preset_gives_system_prompt_and_parameters(self):
        self.kinglet("preset", "save", "short", "--model", REAL_MODEL, "--temp", 0, "--max-tokens", 5, "--system", "You are a pirate.")
        by_preset = json.loads(self.out("run", "short", "Who are you?", "--json"))
        by_flags = json.loads(self.run_model("Who are you?", "--json", "--temp", 0, "-n", 5, "--system", "You are a pirate.").stdout)
        self.assertEqual((by_preset["text"], by_preset["prompt_tokens"]), (by_flags["text"], by_flags["prompt_tokens"]))

    def test_prompts_that_cannot_be(self):
        self.assertIn("empty", self.error(MALFORMED, "run", REAL_MODEL, ""))
        self.assertIn("empty", self.error(MALFORMED, "run", REAL_MODEL, text_in=" \n"))
        message = self.error(NO_ROOM, "run", REAL_MODEL, "--ctx", 128, text_in="word " * 500)
        self.assertRegex(message, r"the prompt has \d+ tokens.*room for 127")
        message = self.error(NO_ROOM, "run", REAL_MODEL, "hi", "--memory", "10MB")
        self.assertRegex(message, r"weights \d+ MiB.*can be used")

    def test_a_model_that_becomes_shorter(self):
        copy = self.file("short.gguf", REAL_MODEL.read_bytes())
        for stage in ("answer", "prompt"):
            with self.subTest(stage=stage):
                copy.write_bytes(REAL_MODEL.read_bytes())
                run = subprocess.Popen([PROGRAM, "run", "-m", copy, *(["Write a long story."] if stage == "answer" else [])],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=self.environment, cwd=self.folder)
                if stage == "answer":
                    self.assertTrue(run.stdout.read(8))
                    os.truncate(copy, 4096)
                    _, told = run.communicate(timeout=60)
                    self.assertEqual(run.returncode, NO_IO, told)
                    self.assertIn("became shorter", told.decode())
                else:  # before it is opened
                    os.truncate(copy, 4096)
                    _, told = run.communicate(b"Hello", timeout=60)
                    self.assertEqual(run.returncode, MALFORMED, told)

    def test_the_end_of_the_context_is_told(self):
        done = self.run_model("Write a long story.", "--ctx", 64, "--temp", 0)
        self.assertIn("context is full", done.stderr)

    def test_no_template_and_a_failing_one(self):
        gguf = Gguf(REAL_MODEL)
        bare = self.file("bare.gguf", gguf.without_template())
        done = self.kinglet("run", bare, "The capital of France is", "--temp", 0, "-n", 4)
        self.assertIn("no chat template", done.stderr)
        self.assertIn("Paris", done.stdout)
        messages = self.file("m.json", '[{"role":"user","content":"U"}]')
        self.error(NOT_FOUND, "render", bare, messages)
        failing = self.file("failing.gguf", gguf.with_template("{{ raise_exception('never again') }}"))
        self.assertIn("never again", self.error(MALFORMED, "run", failing, "hi"))

    def test_perplexity(self):
        text = self.file("t.txt", "The sun rises in the east and sets in the west. " * 20)
        facts = json.loads(self.out("perplexity", REAL_MODEL, text, "--window", 64, "--json"))
        self.assertTrue(1 < facts["perplexity"] < 20, facts)
        self.assertIn("perplexity", self.out("perplexity", REAL_MODEL, "-", "--window", 64, text_in=text.read_text()))
        self.error(NOT_FOUND, "perplexity", REAL_MODEL, "nosuch.txt")
        self.error(MALFORMED, "perplexity", REAL_MODEL, self.file("empty.txt", ""))

    def test_a_reader_that_goes_away(self):
        script = '"$0" run "$1" "Write a long story." --temp 0 -n 400 | head -c1; echo "${PIPESTATUS[0]}"'
        start = time.monotonic()
        done = subprocess.run(["bash", "-c", script, PROGRAM, REAL_MODEL], env=self.environment, capture_output=True,
                              text=True, timeout=60, check=True)
        self.assertEqual(done.stdout[1:], "141\n")
        self.assertLess(time.monotonic() - start, 30)

    def test_signals_end_an_answer(self):
        for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with subprocess.Popen([PROGRAM, "run", REAL_MODEL, "Write a long story.", "-n", "4000"], env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                self.assertTrue(process.stdout.read(1))
                process.send_signal(number)
                process.communicate(timeout=30)
                self.assertEqual(process.returncode, code)

    def test_control_c_ends_a_measurement(self):
        text = self.file("long.txt", "The sun rises in the east and sets in the west. " * 20000)
        with subprocess.Popen([PROGRAM, "perplexity", REAL_MODEL, text], env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(3)
            self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
            self.assertEqual((process.returncode, told), (130, b"error: interrupted\n"))

    def test_no_colour_even_where_forced(self):
        self.kinglet("run", REAL_MODEL, "hi", "-n", 2, env={"CLICOLOR_FORCE": "1"})


if __name__ == "__main__":
    unittest.main()
