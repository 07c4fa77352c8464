"""GGUF twins by llama.cpp's own converter, from the source package of the pinned llama-cpp-python.

  python llama_cpp_converter.py HF_FOLDER OUT.gguf F32|F16

The package is fetched once into a scratch folder outside the tree (KINGLET_CONVERTER names one that is already unpacked:
the folder with convert_hf_to_gguf.py). The converter runs in a process of its own, since it brings its own `gguf`. Our
models have no vocabulary, so that step is left out; `kinglet logits --tokens` needs none.
"""
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "llama-cpp-python==0.3.36"


def converter_folder():
    given = os.environ.get("KINGLET_CONVERTER")
    if given:
        return Path(given)
    scratch = Path(tempfile.gettempdir()) / "kinglet-llama-cpp-converter"
    found = sorted(scratch.glob("llama_cpp_python-*/vendor/llama.cpp"))
    if not found:
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", PACKAGE, "-d",
                        str(scratch)], check=True)
        with tarfile.open(next(scratch.glob("*.tar.gz"))) as archive:
            archive.extractall(scratch, filter="data")
        found = sorted(scratch.glob("llama_cpp_python-*/vendor/llama.cpp"))
    return found[0]


def convert(folder, path, kind):
    """Writes the GGUF twin of a Hugging Face folder; `kind` is the type of its matrices."""
    path.parent.mkdir(exist_ok=True)
    # -O: some of its assertions hold the sizes of one release (a head of 128); the golden logits judge its result.
    subprocess.run([sys.executable, "-O", __file__, str(folder), str(path), kind], check=True)


def main(folder, path, kind):
    root = converter_folder()
    sys.path[:0] = [str(root), str(root / "gguf-py")]
    import logging

    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    logging.basicConfig(level=logging.WARNING)
    types = {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16}
    with torch.inference_mode(), tempfile.TemporaryDirectory() as copied:
        folder = shutil.copytree(folder, Path(copied) / Path(folder).name)
        parameters = json.loads((folder / "config.json").read_text())
        # The converter wants keys of MiniMax-M3 that transformers translates as it reads them.
        if parameters["model_type"] != "minimax_m3_vl":
            parameters = ModelBase.load_hparams(folder, False)
        size = {**parameters, **parameters.get("text_config", {})}["vocab_size"]
        # Gemma's part looks how many tokens there are, to cut padding off the embedding.
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {f"t{i}": i for i in range(size)}},
                                                           "added_tokens": []}))
        known = get_model_class(get_model_architecture(parameters, ModelType.TEXT), mmproj=False)
        without_vocabulary = type(known.__name__, (known,), {"model_arch": known.model_arch,
                                                             "set_vocab": lambda self: None,
                                                             "_get_suppress_tokens": lambda self: None})
        model = without_vocabulary(folder, types[kind], Path(path), hparams=parameters)
        model.gguf_writer.kv_data[0].pop("tokenizer.chat_template", None)  # it has one of its own for DeepSeek-V4
        getattr(model, "impl", model).set_vocab = lambda: None  # Mistral 3's class hands the work to another one
        model.write()


if __name__ == "__main__":
    main(*sys.argv[1:])
