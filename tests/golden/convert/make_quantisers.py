"""Writes quantisers.txt: the weighted RMSE of llama.cpp's quantisers on matrices that convert_test makes as well."""
import ctypes
import pathlib

import gguf
import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent
TYPES = ["Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_XS", "IQ4_NL", "MXFP4", "Q3_K", "Q2_K"]
ROWS, COLUMNS = 16, 1024


def integers(seed, count):
    """splitmix64."""
    state = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, count + 1, dtype=np.uint64)
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def matrix(kind):
    """Sums of four uniform numbers, one in 64 of them eight times as large in "tails"; "flat" ones have one summand."""
    bits = integers({"normal": 1, "tails": 2, "flat": 3}[kind], ROWS * COLUMNS)
    parts = [(bits >> np.uint64(16 * i) & np.uint64(0xFFFF)).astype(np.int64) - 32768 for i in range(4)]
    values = parts[0] if kind == "flat" else sum(parts)
    if kind == "tails":
        values = np.where(parts[0] % 64 == 0, 8 * values, values)
    return (values.astype(np.float32) * np.float32(2.0**-20)).reshape(ROWS, COLUMNS)


def importance(kind):
    return None if kind == "none" else ((integers(4, COLUMNS) >> np.uint64(61)).astype(np.float32) + 1) ** 4


def quantise(ggml, qtype, x, weights):
    per_block, size = gguf.GGML_QUANT_SIZES[qtype]
    out = np.zeros((x.shape[0], x.shape[1] // per_block * size), np.uint8)

    def pointer(a):
        return None if a is None else a.ctypes.data_as(ctypes.c_void_p)

    ggml.ggml_quantize_chunk(ctypes.c_int(int(qtype)), pointer(x), pointer(out), ctypes.c_int64(0),
                             ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]), pointer(weights))
    return out


def weighted_rmse(x, decoded, weights):
    w = np.ones(x.shape[1]) if weights is None else weights.astype(np.float64)
    squares = (x.astype(np.float64) - decoded) ** 2
    return float(np.sqrt((squares * w).sum() / (w.sum() * x.shape[0])))


def load_ggml():
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(next(folder.glob("libggml-base.so*"))))
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    return ggml


def main():
    path = HERE / "quantisers.txt"
    hashes = {}
    if path.exists():
        hashes = {tuple(line.split()[:3]): line.split()[4] for line in path.read_text().splitlines()}
    ggml, lines = load_ggml(), []
    for name in TYPES:
        qtype = gguf.GGMLQuantizationType[name]
        for kind in ["normal", "tails", "flat"]:
            for weights_kind in ["none", "columns"]:
                x, w = matrix(kind), importance(weights_kind)
                rmse = weighted_rmse(x, gguf.dequantize(quantise(ggml, qtype, x, w), qtype), w)
                lines.append(f"{name} {kind} {weights_kind} {rmse:.9e} {hashes.get((name, kind, weights_kind), '-')}")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
