"""Closed-form inputs and key-addressed weights behind the parity fixtures of this folder.

Both rules draw each tensor from its own generator, seeded by the CRC-32 of the tensor's name in the
authors' state_dict (without the `module.` prefix), so a full checkpoint can be rebuilt from a list
of names and shapes, on any machine, in any order. The fixtures hold what the authors' networks
answer with such weights: rule A for mcgan, spagan, dsen2 and glf (gain 0.7), rule B for align_cr.
spa_gan_rice2.pth and spa_gan_published.npz are SpA GAN's published weights and what they answer;
spa_gan_LICENSE.txt is their licence.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from planetcr_models.weights.authors import load_checkpoint

HERE = Path(__file__).parent


def _normal(key: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    return np.asarray(generator.standard_normal(shape))


def wave(channels, height, width, phase=0.0, low=0.0, high=1.0):
    """Closed-form image, shape (channels, height, width), float64 in [low, high]."""
    k = np.arange(channels, dtype=np.float64)[:, None, None]
    y = np.arange(height, dtype=np.float64)[None, :, None]
    x = np.arange(width, dtype=np.float64)[None, None, :]
    z = (
        np.sin(0.11 * x + 0.7 * k + phase)
        + np.cos(0.07 * y - 0.5 * k + 2 * phase)
        + np.sin(0.023 * (x + 1.3 * y) * (k + 1) + phase)
    )
    return low + (high - low) * (z + 3.0) / 6.0


def rule_a(key, shape, gain=1.0):
    """Rule A: float64 value of one floating-point tensor.

    Covers buffers too (running_var, running_mean); skip `attn_mask` and integer tensors.
    """
    z = _normal(key, shape)
    if key.endswith("running_var"):
        return 0.5 + np.abs(z)
    if key.endswith("running_mean"):
        return 0.1 * z
    if len(shape) >= 2:
        return z * gain * np.sqrt(1.0 / max(int(np.prod(shape[1:])), 1))
    if key.endswith("weight"):
        return 1.0 + 0.1 * z
    return 0.05 * z


ALIGN_CR_GAINS = [  # substring of the key -> gain; the first match wins; else 1.0
    ("conv_offset.weight", 5.0), ("attn_fuse_1x1conv", 0.6), ("sar_fuse_1x1conv", 1.5),
    ("opt_distribute_1x1conv", 1.5), (".qkv", 1.5), ("fac_warp.3.0.weight", 0.4), (".stem.", 0.6),
    ("fac_warp.0.0.weight", 0.5), ("LFF", 0.3), (".proj", 0.5), (".fc2", 0.5), ("dcn", 1.5),
    ("GFF", 0.7), ("UPNet", 0.5),
]  # fmt: skip


def rule_b(key, shape, gains=ALIGN_CR_GAINS):
    """Rule B: align_cr. Float64 value of one learnable tensor, stored as float32 in the checkpoint.

    Buffers (relative_position_index, attn_mask) are whatever the network builds for its size.
    """
    z = _normal(key, shape)
    leaf = key.split(".")[-1]
    if leaf == "weight_g":  # weight-norm magnitude, shape (out, 1, 1, 1)
        return 0.4 * (1.0 + 0.1 * z)
    if leaf == "weight_v":  # only its direction matters
        return z
    if leaf == "relative_position_bias_table":
        return 0.5 * z
    if ".norm" in key:
        return 1.0 + 0.1 * z if leaf == "weight" else 0.1 * z
    if leaf == "bias":
        return 0.3 * z if "conv_offset" in key else 0.05 * z
    gain = next((g for part, g in gains if part in key), 1.0)
    return gain * z / np.sqrt(int(np.prod(shape[1:])))


def image(*size, dtype=torch.float64, **options):
    """A batch of one `wave`, as a tensor."""
    return torch.from_numpy(wave(*size, **options)[None]).to(dtype)


def expected(file, name):
    """An array of a fixture, as a tensor."""
    with np.load(HERE / file) as arrays:
        return torch.from_numpy(arrays[name])


def filled(file, network, *, dtype=torch.float64):
    """Weights by rule A under the authors' names, which a fixture lists."""
    names = json.loads((HERE / file).read_text())[f"{network}/keys"]
    return {
        key: torch.from_numpy(np.asarray(rule_a(key, tuple(shape)))).to(dtype)
        for key, shape in names
        if not key.endswith("num_batches_tracked")
    }


def load(name, content, folder):
    """Our network with the weights of a file that holds `content`."""
    path = folder / f"{name}.pth"
    torch.save(content, path)
    model = load_checkpoint(name, path)
    path.unlink()  # up to half a gigabyte
    return model
