"""Writes quantised/: tiny Hugging Face folders of every quantisation scheme, and what their weights mean.

Usage: make_quantised_golden.py (no downloads). Needs the packages of ../models/requirements.txt, compressed-tensors
0.20.0 and bitsandbytes 0.50.2. The output is committed.

A folder holds config.json and model.safetensors as publishers write them, and expected.safetensors: the dequantised
weights in float32. They come from the scheme's own library where it runs without a GPU (compressed-tensors,
bitsandbytes, transformers for MXFP4 and for FP8 whose tiles divide the matrix), with scales widened to float32 first,
so that the library computes in float32. GPTQ, AWQ, modelopt, partial FP8 tiles and nf4 groups across rows are
written out here from the formats' descriptions. Kinglet must give the same bits, with two exceptions: zeros of 4-bit
floats may have another sign, and the three factors of NVFP4 are multiplied in another order (2^-22 relative).
"""

import importlib.metadata
import json
import pathlib
import shutil

import bitsandbytes.functional as bnb
import numpy as np
import torch
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8, unpack_fp4_from_uint8
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

for package, version in {"compressed-tensors": "0.20.0", "bitsandbytes": "0.50.2", "transformers": "5.23.0"}.items():
    assert importlib.metadata.version(package) == version, f"the golden files are defined by {package}=={version}"

FOLDER = pathlib.Path(__file__).with_name("quantised")
RNG = np.random.default_rng(20260701)
AWQ_COLUMN_OF_NIBBLE = [0, 2, 4, 6, 1, 3, 5, 7]


def integers(high, *shape):
    return RNG.integers(0, high, shape, dtype=np.int64)


def scales_like(*shape, dtype=torch.float16):
    return torch.from_numpy(RNG.uniform(0.001, 0.1, shape).astype(np.float32)).to(dtype)


def all_fp8(*shape):
    """E4M3 of every bit pattern, NaN too."""
    return torch.from_numpy(integers(256, *shape).astype(np.uint8)).view(torch.float8_e4m3fn)


def write(name, quantization_config, tensors, expected):
    folder = FOLDER / name
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "quantization_config": quantization_config}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    # An ordinary tensor stands beside the quantised ones.
    tensors = {"model.norm.weight": torch.arange(4, dtype=torch.bfloat16), **tensors}
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    expected = {k: v.to(torch.float32).contiguous().clone() for k, v in expected.items()}
    save_file(expected, folder / "expected.safetensors")


def pack_words(q, axis, bits, order=None):
    """Integers along `axis` into 32-bit words, the first one lowest (or nibble p holding number order[p])."""
    q = np.moveaxis(q, axis, -1)
    lanes = 32 // bits
    q = np.pad(q, [(0, 0)] * (q.ndim - 1) + [(0, -q.shape[-1] % lanes)])
    q = q.reshape(*q.shape[:-1], -1, lanes)
    words = sum((q[..., (order or range(lanes))[p]] & (2**bits - 1)) << (bits * p) for p in range(lanes))
    return torch.from_numpy(np.moveaxis(words.astype(np.uint32), -1, axis).view(np.int32).copy())


def gptq(name, rows, columns, bits, group, version, act_order=False):
    span = columns if group == -1 else group
    groups = -(-columns // span)
    q = integers(2**bits, columns, rows)
    zeros = integers(2**bits, groups, rows)
    scales = scales_like(groups, rows)
    g_idx = np.arange(columns) // span
    if act_order:
        RNG.shuffle(g_idx)
    stored = zeros - 1 if version == "gptq" else zeros
    weights = (q - zeros[g_idx]).astype(np.float32) * scales.float().numpy()[g_idx]
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order, "sym": False,
              "checkpoint_format": version}
    write(name, config,
          {"m.qweight": pack_words(q, 0, bits), "m.qzeros": pack_words(stored, 1, bits), "m.scales": scales,
           "m.g_idx": torch.from_numpy(g_idx.astype(np.int32))},
          {"m.weight": torch.from_numpy(weights.T.copy())})


def awq(name, rows, columns, group):
    q, zeros = integers(16, columns, rows), integers(16, columns // group, rows)
    scales = scales_like(columns // group, rows)
    index = np.arange(columns) // group
    weights = (q - zeros[index]).astype(np.float32) * scales.float().numpy()[index]
    write(name, {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True},
          {"m.qweight": pack_words(q, 1, 4, AWQ_COLUMN_OF_NIBBLE),
           "m.qzeros": pack_words(zeros, 1, 4, AWQ_COLUMN_OF_NIBBLE), "m.scales": scales},
          {"m.weight": torch.from_numpy(weights.T.copy())})


def compressed_config(form, weights):
    return {"quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": None, "weights": weights}}}


def packed(name, rows, columns, bits, group, symmetric=True, act_order=False):
    arguments = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "group" if group else "channel",
                 "group_size": group}
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**arguments))
    groups = -(-columns // group) if group else 1
    half = 2 ** (bits - 1)
    q = torch.from_numpy(integers(2**bits, rows, columns) - half).to(torch.int8)
    scales = scales_like(rows, groups, dtype=torch.bfloat16)
    tensors = {"weight_packed": pack_to_int32(q, bits), "weight_scale": scales,
               "weight_shape": torch.tensor([rows, columns])}
    if not symmetric:
        zeros = torch.from_numpy(integers(2**bits, rows, groups) - half).to(torch.int8)
        tensors["weight_zero_point"] = pack_to_int32(zeros, bits, packed_dim=0).contiguous()
    wide = {**tensors, "weight_scale": scales.float()}
    expected = PackedQuantizationCompressor.decompress(wide, scheme)["weight"]
    if act_order:  # the library has given it up: columns of a group stand apart
        g_idx = torch.from_numpy(RNG.permutation(np.arange(columns) // group).astype(np.int32))
        tensors["weight_g_idx"] = g_idx
        expected = q.float() * scales.float()[:, g_idx.long()]
    write(name, compressed_config("pack-quantized", arguments), {"m." + k: v for k, v in tensors.items()},
          {"m.weight": expected})


def int8_by_row(name, rows, columns, symmetric):
    arguments = {"num_bits": 8, "type": "int", "symmetric": symmetric, "strategy": "channel"}
    q = torch.from_numpy(integers(256, rows, columns) - 128).to(torch.int8)
    scales = scales_like(rows, 1, dtype=torch.bfloat16)
    tensors = {"m.weight": q, "m.weight_scale": scales}
    zeros = None
    if not symmetric:
        zeros = tensors["m.weight_zero_point"] = torch.from_numpy(integers(256, rows, 1) - 128).to(torch.int8)
    expected = dequantize(q, scales.float(), zeros, args=QuantizationArgs(**arguments))
    write(name, compressed_config("int-quantized", arguments), tensors, {"m.weight": expected})


def fp8_by_row(name, rows, columns):
    arguments = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
    q, scales = all_fp8(rows, columns), scales_like(rows, 1, dtype=torch.bfloat16)
    expected = dequantize(q, scales.float(), args=QuantizationArgs(**arguments))
    write(name, compressed_config("float-quantized", arguments), {"m.weight": q, "m.weight_scale": scales},
          {"m.weight": expected})


def fp8_blocks(name):
    whole, whole_scales = all_fp8(32, 256), scales_like(2, 2, dtype=torch.float32)
    edge, edge_scales = all_fp8(18, 132), scales_like(2, 2, dtype=torch.float32)
    stack, stack_scales = all_fp8(2, 18, 130), scales_like(2, 2, 2, dtype=torch.float32)
    whole_scales[0, 1], edge_scales[1, 1] = float("inf"), float("nan")
    spread = lambda s, rows, columns: s.repeat_interleave(16, -2).repeat_interleave(128, -1)[..., :rows, :columns]
    write(name, {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [16, 128], "activation_scheme": "dynamic"},
          {"m.weight": whole, "m.weight_scale_inv": whole_scales, "n.weight": edge, "n.weight_scale_inv": edge_scales,
           "experts.gate_up_proj": stack, "experts.gate_up_proj_scale_inv": stack_scales},
          {"m.weight": Fp8Dequantize(None)._dequantize_one(whole, whole_scales, torch.float32),
           "n.weight": edge.float() * spread(edge_scales, 18, 132),
           "experts.gate_up_proj": stack.float() * spread(stack_scales, 18, 130)})


def fp8_one_scale(name):
    q, scale = all_fp8(6, 70), torch.tensor(0.0371)
    write(name, {"quant_method": "modelopt", "quant_algo": "FP8"},
          {"m.weight": q, "m.weight_scale": scale, "m.input_scale": torch.tensor(0.5)}, {"m.weight": q.float() * scale})


def fp8_with_powers(name):
    """DeepSeek-V4: scales are powers of two; experts are 4-bit floats."""
    powers = lambda *shape: torch.from_numpy((integers(16, *shape) + 118).astype(np.uint8)).view(torch.float8_e8m0fnu)
    dense, dense_scales = all_fp8(32, 256), powers(2, 2)
    expert = torch.from_numpy(integers(256, 8, 64).astype(np.uint8)).view(torch.int8)
    expert_scales = powers(8, 4)
    whole = Fp8Dequantize(None)._dequantize_one
    write(name, {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [16, 128], "scale_fmt": "ue8m0"},
          {"m.weight": dense, "m.scale": dense_scales, "experts.0.w1.weight": expert, "experts.0.w1.scale": expert_scales},
          {"m.weight": whole(dense, dense_scales.float(), torch.float32),
           "experts.0.w1.weight": whole(expert, expert_scales.float(), torch.float32)})


def mxfp4(name):
    blocks = torch.from_numpy(integers(256, 2, 6, 3, 16).astype(np.uint8))
    scales = torch.from_numpy((integers(40, 2, 6, 3) + 100).astype(np.uint8))
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2)
    write(name, {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
          {"experts.gate_up_proj_blocks": blocks, "experts.gate_up_proj_scales": scales},
          {"experts.gate_up_proj.weight": expected})


def nvfp4(name, form):
    rows, columns = 6, 128
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    codes = levels[torch.from_numpy(integers(16, rows, columns))]
    scales = torch.from_numpy(integers(126, rows, columns // 16).astype(np.uint8)).view(torch.float8_e4m3fn)
    packed_codes = pack_fp4_to_uint8(codes)
    if form == "modelopt":
        factor = torch.tensor(0.00213)
        expected = codes * (scales.float() * factor).repeat_interleave(16, -1)
        write(name, {"quant_method": "modelopt", "quant_algo": "NVFP4"},
              {"m.weight": packed_codes, "m.weight_scale": scales, "m.weight_scale_2": factor}, {"m.weight": expected})
        return
    arguments = {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16}
    tensors = {"weight_packed": packed_codes, "weight_scale": scales, "weight_global_scale": torch.tensor([471.3])}
    unpacked = unpack_fp4_from_uint8(packed_codes, rows, columns, dtype=torch.float32)
    expected = dequantize(unpacked, scales.float(), args=QuantizationArgs(**arguments), dtype=torch.float32,
                          global_scale=tensors["weight_global_scale"])
    write(name, compressed_config(form, arguments), {"m." + k: v for k, v in tensors.items()}, {"m.weight": expected})


def flat_nf4(q, state):
    """Groups that run on from row to row, which the library's quantiser makes and its CPU dequantiser (0.50.2) misreads:
    its result is further from the original weights than the largest step of their groups."""
    codes = q.flatten().numpy()
    codes = np.stack([codes >> 4, codes & 15], -1).reshape(-1)
    absmax = np.repeat(state.absmax.numpy(), state.blocksize)[:codes.size]
    return torch.from_numpy((state.code.numpy()[codes] * absmax).reshape(tuple(state.shape)))


def nf4(name, rows, columns, group, doubled):
    weights = torch.from_numpy(RNG.normal(size=(rows, columns)).astype(np.float32))
    q, state = bnb.quantize_4bit(weights, blocksize=group, quant_type="nf4", compress_statistics=doubled)
    parts = {"m.weight." + k: v for k, v in state.as_dict(packed=True).items()}
    write(name, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
                 "bnb_4bit_use_double_quant": doubled},
          {"m.weight": q, **parts}, {"m.weight": flat_nf4(q, state) if columns % group else bnb.dequantize_4bit(q, state)})


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    torch.set_num_threads(1)
    gptq("gptq-int4-act-order", 16, 128, 4, 32, "gptq", act_order=True)
    gptq("gptq-int4-rows", 8, 72, 4, -1, "gptq")
    gptq("gptq-int8-v2", 12, 136, 8, 64, "gptq_v2")
    awq("awq-int4", 24, 128, 64)
    packed("compressed-int4", 6, 96, 4, 32)
    packed("compressed-int4-zeros", 12, 160, 4, 32, symmetric=False)
    packed("compressed-int4-act-order", 5, 128, 4, 64, act_order=True)
    packed("compressed-int8-packed", 6, 70, 8, None)
    int8_by_row("compressed-int8", 6, 70, True)
    int8_by_row("compressed-int8-zeros", 6, 70, False)
    fp8_by_row("compressed-fp8", 6, 150)
    fp8_blocks("fp8-blocks")
    fp8_one_scale("fp8-one-scale")
    fp8_with_powers("fp8-powers")
    mxfp4("mxfp4-stack")
    nvfp4("nvfp4-modelopt", "modelopt")
    nvfp4("nvfp4-compressed", "nvfp4-pack-quantized")
    nf4("nf4", 6, 128, 64, False)
    nf4("nf4-nested", 6, 256, 128, True)
    nf4("nf4-across-rows", 6, 192, 128, False)


if __name__ == "__main__":
    main()
