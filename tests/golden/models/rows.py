"""One row of the table of tiny models; tiny_models.py says what the fields mean."""
from dataclasses import dataclass, field
from typing import Callable


@dataclass(frozen=True)
class Nested:
    """How a multimodal checkpoint wraps its text part."""
    config: Callable  # text config -> the whole config
    name: Callable    # stored name of a text tensor -> its name in the checkpoint
    ignored: dict = field(default_factory=dict)  # name -> shape of tensors of other parts


def new_style(config):
    """transformers 5 writes `rope_parameters` and `dtype`; older releases `rope_theta`, `rope_scaling`, `torch_dtype`."""
    c = dict(config)
    scaling = c.pop("rope_scaling", None) or {"rope_type": "default"}
    c["rope_parameters"] = {"rope_theta": c.pop("rope_theta"), **scaling}
    c["dtype"] = c.pop("torch_dtype")
    return c


def row(name, family, config, dtype="F32", shards=1, tokens=64, gguf=None, grid=False, nested=None, gain=1.5,
        mtp=None, oracle=None, tolerance=1e-4, pending=False, released=None, fp4=False):
    return dict(name=name, family=family, config=config, dtype=dtype, shards=shards, tokens=tokens, gguf=gguf,
                grid=grid, nested=nested, gain=gain, mtp=mtp, oracle=oracle, tolerance=tolerance,
                pending=pending, released=released, fp4=fp4)
