"""Golden values for the operations of linear attention (src/kernels/recurrent_test.cc), by transformers in double precision.

    python make_recurrent_golden.py > vectors.inc      (packages: ../models/requirements.txt)

Three mixers between their projections: Qwen3-Next's, Kimi Linear's, MiniMax-01's. What a projection would give, and the
weights, come from value() below, which the test repeats. Every mixer runs by its chunked form and token by token; both
have to agree.
"""
import torch

# The modules cast to float32 in many places; here that means double, so that only the engine's rounding shows.
torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)

from transformers.models.kimi_linear import modeling_kimi_linear as kimi
from transformers.models.minimax import modeling_minimax as minimax
from transformers.models.qwen3_next import modeling_qwen3_next as qwen

TOKENS, DIM, TAPS = 7, 8, 4
MASK = 0xFFFFFFFF


def value(seed, i):
    """A number in [-1, 1) that depends on the tensor and the place in it."""
    x = ((i + 1) * 2654435761 ^ seed * 0x9E3779B9) & MASK
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        x = (x ^ x >> shift) * factor & MASK
    return ((x ^ x >> 15) >> 8) / 2**23 - 1


def tensor(seed, *shape):
    count = torch.Size(shape).numel()
    return torch.tensor([value(seed, i) for i in range(count)]).view(*shape)


def convolved(module, x, weight):
    """x [tokens][channels] after the causal convolution and silu, as one run."""
    return module.causal_conv1d_fn(x.T[None], weight, activation="silu")[0].T


def both_forms(chunked, recurrent, q, k, v, g, beta):
    arguments = dict(g=g[None], beta=beta[None], initial_state=None, output_final_state=True, use_qk_l2norm_in_kernel=True)
    one, _ = chunked(q[None], k[None], v[None], chunk_size=4, **arguments)
    other, _ = recurrent(q[None], k[None], v[None], **arguments)
    assert (one - other).abs().max() < 1e-12
    return other[0]


def qwen3_next():
    key_heads, value_heads = 2, 4
    keys, values = key_heads * DIM, value_heads * DIM
    mixed = convolved(qwen, tensor(1, TOKENS, 2 * keys + values), tensor(2, 2 * keys + values, TAPS))
    q, k = (mixed[:, i * keys:(i + 1) * keys].reshape(TOKENS, key_heads, DIM) for i in range(2))
    v = mixed[:, 2 * keys:].reshape(TOKENS, value_heads, DIM)
    a_log, dt_bias = tensor(3, value_heads), tensor(4, value_heads)
    g = -a_log.exp() * torch.nn.functional.softplus(tensor(5, TOKENS, value_heads) + dt_bias)
    out = both_forms(qwen.torch_chunk_gated_delta_rule, qwen.torch_recurrent_gated_delta_rule, q, k, v, g,
                     tensor(6, TOKENS, value_heads).sigmoid())
    norm = qwen.Qwen3NextRMSNormGated(DIM, eps=1e-6)
    norm.weight.data = tensor(7, DIM)
    return norm(out, tensor(8, TOKENS, value_heads, DIM))


def kimi_linear():
    heads = 2
    width = heads * DIM
    mixed = convolved(kimi, tensor(11, TOKENS, 3 * width), tensor(12, 3 * width, TAPS))
    q, k, v = (mixed[:, i * width:(i + 1) * width].reshape(TOKENS, heads, DIM) for i in range(3))
    gate = kimi.KimiLinearForgetGate(kimi.KimiLinearConfig(hidden_size=width, linear_num_heads=heads, linear_head_dim=DIM))
    gate.f_a_proj = gate.f_b_proj = torch.nn.Identity()
    gate.A_log.data, gate.dt_bias.data = tensor(13, 1, 1, heads, 1), tensor(14, width)
    g = gate(tensor(15, 1, TOKENS, width))[0]
    out = both_forms(kimi.chunk_kimi_delta_attention, kimi.recurrent_kimi_delta_attention, q, k, v, g,
                     tensor(16, TOKENS, heads).sigmoid())
    norm = kimi.KimiLinearRMSNormGated(DIM, eps=1e-6)
    norm.weight.data = tensor(17, DIM)
    return norm(out, tensor(18, TOKENS, heads, DIM))


class Gives(torch.nn.Module):
    """In place of a projection."""

    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, _):
        return self.result


class TokenCache:
    """What the mixer asks of a cache, its state zero at first: the road of one token after the other."""

    def __init__(self, state):
        self.state = state

    def get_linear_cache(self, _):
        return self.state

    def set_linear_cache(self, _, state):
        self.state = state


def lightning():
    heads, layer, layers = 2, 1, 4
    width = heads * DIM
    config = minimax.MiniMaxConfig(hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, block_size=3,
                                   layer_types=["linear_attention"] * layers)
    mixer = minimax.MiniMaxLightningAttention(config, layer)
    mixer.qkv_proj = Gives(tensor(21, 1, TOKENS, 3 * width))
    mixer.output_gate = Gives(tensor(22, 1, TOKENS, width))
    mixer.out_proj = torch.nn.Identity()
    mixer.norm.weight.data = tensor(23, width)
    x = torch.zeros(1, TOKENS, width)
    one, _ = mixer(x, None, None)
    other, _ = mixer(x, None, None, TokenCache(torch.zeros(1, heads, DIM, DIM)))
    assert (one - other).abs().max() < 1e-12
    return torch.cat([(-mixer.slope_rate).exp().flatten(), mixer.norm.variance_epsilon * torch.ones(1), other.flatten()])


def main():
    print("// Made by make_recurrent_golden.py; do not edit.")
    for name, make in (("kQwen3Next", qwen3_next), ("kKimiLinear", kimi_linear), ("kLightning", lightning)):
        with torch.no_grad():
            values = make().flatten().tolist()
        print(f"constexpr double {name}[] = {{" + ", ".join(f"{v:.10g}" for v in values) + "};")


main()
