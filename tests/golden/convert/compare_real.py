"""Weighted RMSE of Kinglet's and llama.cpp's quantisers on a model's own matrices: compare_real.py KINGLET MODEL.gguf.

Prints for every type the largest and the mean ratio of Kinglet's RMSE to llama.cpp's over the matrices it fits.
"""
import subprocess
import sys
import tempfile

import gguf
import numpy as np

from make_quantisers import TYPES, load_ggml, quantise, weighted_rmse

BASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}
MOST_ROWS = 256


def main():
    kinglet, model = sys.argv[1:]
    ggml = load_ggml()
    matrices = {}
    for t in gguf.GGUFReader(model).tensors:
        if len(t.shape) == 2 and t.shape[0] % 256 == 0 and t.name.startswith("blk."):
            matrices[t.name] = gguf.dequantize(t.data, t.tensor_type)[:MOST_ROWS].astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.gguf", f"{folder}/out.gguf"
        writer = gguf.GGUFWriter(source, "llama")
        for name, x in matrices.items():
            writer.add_tensor(name, np.ascontiguousarray(x))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        for name in TYPES:
            subprocess.run([kinglet, "-q", "quantize", source, target, BASES.get(name, name), "--tensor", f"blk={name}"],
                           check=True, stdout=subprocess.DEVNULL)
            qtype, ratios = gguf.GGMLQuantizationType[name], []
            for t in gguf.GGUFReader(target).tensors:
                x = matrices[t.name]
                theirs = weighted_rmse(x, gguf.dequantize(quantise(ggml, qtype, x, None), qtype), None)
                ours = weighted_rmse(x, gguf.dequantize(t.data, t.tensor_type), None)
                ratios.append(ours / theirs if theirs else float(ours > 0) + 1)
            print(f"{name:7s} largest ratio {max(ratios):.4f}  mean {np.mean(ratios):.4f}  {len(ratios)} matrices", flush=True)


if __name__ == "__main__":
    main()
