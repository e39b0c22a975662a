"""Load checkpoints written by the authors' code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS, Restorer
from planetcr_models.networks.methods import METHODS
from planetcr_models.networks.registry import build_model
from planetcr_models.weights.checkpoint import (
    differences,
    expect_finite,
    some,
    unpickle,
)
from planetcr_models.weights.keras import is_hdf5, load_dsen2_cr
from planetcr_models.weights.paths import expect_file
from planetcr_models.weights.wrappers import unwrapped

OUTER = "network"
"""Key of the weights in files of the Planet-CR authors' training scripts."""

PREFIX = "gen.gen."
"""Prefix of all names if the network was saved within another one of its authors."""

IGNORED = ("attn_mask", "relative_position_index")
"""Suffixes of buffers that follow from the image size."""

OPTIONAL = ("num_batches_tracked",)
"""Suffixes of buffers that older versions of PyTorch did not write."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types that weights may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointLayout:
    """Names of the parts of a network in its authors' code.

    Attributes:
        first: Their name of the convolution that takes the optical bands.
        first_channels: Its input channels per optical band, and those on top for SAR.
        last: Their name of the convolution that outputs the bands.
        names: Our name and theirs of each module or parameter; ``{}`` is a number. The first
            matching prefix is replaced; the rest of the name is kept.
    """

    first: str
    first_channels: tuple[int, int]
    last: str
    names: tuple[tuple[str, str], ...]

    def theirs(self, ours: str) -> str:
        """The authors' name for our name ``ours``."""
        for pattern, name in self.names:
            match = re.match(re.escape(pattern).replace(r"\{\}", r"(\d+)") + r"(?![^.])", ours)
            if match:
                return name.format(*match.groups()) + ours[match.end() :]
        return ours


_Names = tuple[tuple[str, str], ...]


def _within(ours: str, theirs: str, names: _Names, *, prefix: str = "") -> _Names:
    """Names within a module that is also named differently."""
    return tuple((f"{ours}.{our}", f"{theirs}.{prefix}{their}") for our, their in names)


_JOINT_LAYER: Final = (
    ("norm", "norm1"),
    ("norm_sar", "norm1_SAR"),
    ("attend.optical.qkv", "attn.qkv"),
    ("attend.optical.out", "attn.proj"),
    ("attend.sar.qkv", "attn.qkv_SAR"),
    ("attend.sar.out", "attn.proj_SAR"),
    ("attend.gate", "attn.attn_fuse_1x1conv"),
    ("attend.position_bias.table", "attn.relative_position_bias_table"),
    ("mlp_norm", "norm2"),
    ("mlp_norm_sar", "norm2_SAR"),
    ("mlp.0", "mlp.fc1"),
    ("mlp.2", "mlp.fc2"),
    ("mlp_sar.0", "mlp_SAR.fc1"),
    ("mlp_sar.2", "mlp_SAR.fc2"),
)

_FUSION_AND_TAIL: Final = (
    ("stages.{}.fuse.enter", "DF.{}.fac_warp.0.0"),
    ("stages.{}.fuse.refine.0.first", "DF.{}.fac_warp.1.stem.0"),
    ("stages.{}.fuse.refine.0.second", "DF.{}.fac_warp.1.stem.2"),
    ("stages.{}.fuse.refine.1.first", "DF.{}.fac_warp.2.stem.0"),
    ("stages.{}.fuse.refine.1.second", "DF.{}.fac_warp.2.stem.2"),
    ("stages.{}.fuse.kernels", "DF.{}.fac_warp.3.0"),
    ("stages.{}.fuse.gate_optical", "sar_fuse_1x1conv.{}"),
    ("stages.{}.fuse.gate_sar", "opt_distribute_1x1conv.{}"),
    ("reconstruct.merge", "GFF.0"),
    ("reconstruct.smooth", "GFF.1"),
    ("reconstruct.spread", "UPNet.0"),
    ("reconstruct.head", "UPNet.2"),
)

_WIDE_BLOCK: Final = tuple(
    (f"{ours}{our}", f"{theirs}{their}")
    for ours, theirs in (("expand", "0"), ("shrink", "2"), ("mix", "3"))
    for our, their in ((".magnitude", ".weight_g"), (".direction", ".weight_v"), ("", ""))
)

_PYRAMID: Final = (
    ("down2", "L2_conv1"),
    ("down3", "L3_conv1"),
    ("top", "toplayer"),
    ("lateral2", "latlayer1"),
    ("lateral1", "latlayer2"),
    ("smooth2", "smooth1"),
    ("smooth1", "smooth2"),
)

_CASCADE: Final = (
    ("level{}.compare", "offset_conv1.l{}"),
    ("level3.guess", "offset_conv2.l3"),
    ("level{}.refine", "offset_conv2.l{}"),
    ("level{}.guess", "offset_conv3.l{}"),
    ("level{}.sample.offset", "dcn_pack.l{}.conv_offset"),
    ("level{}.sample", "dcn_pack.l{}"),
    ("level{}.merge", "feat_conv.l{}"),
    ("cascade.compare", "cas_offset_conv1"),
    ("cascade.guess", "cas_offset_conv2"),
    ("cascade.sample.offset", "cas_dcnpack.conv_offset"),
    ("cascade.sample", "cas_dcnpack"),
)

LAYOUTS: Final[dict[str, CheckpointLayout]] = {
    "mcgan": CheckpointLayout(
        first="c0",
        first_channels=(1, 0),
        last="dc7",
        names=(
            ("enter", "c0"),
            *((f"down.{i}.conv", f"c{i + 1}.c") for i in range(7)),
            *((f"down.{i}.norm", f"c{i + 1}.batchnorm") for i in range(7)),
            ("up.{}.conv", "dc{}.c"),
            ("up.{}.norm", "dc{}.batchnorm"),
            ("leave", "dc7"),
        ),
    ),
    "spa_gan": CheckpointLayout(
        first="conv_in.0",
        first_channels=(1, 0),
        last="conv_out.0",
        names=(
            ("enter", "conv_in.0"),
            ("attention.enter", "SAM1.conv1"),
            ("attention.neighbours{}.up", "SAM1.irnn{}.up_weight"),
            ("attention.neighbours{}.right", "SAM1.irnn{}.right_weight"),
            ("attention.neighbours{}.down", "SAM1.irnn{}.down_weight"),
            ("attention.neighbours{}.left", "SAM1.irnn{}.left_weight"),
            ("attention.mix1", "SAM1.conv2"),
            ("attention.mix2", "SAM1.conv3"),
            ("attention.leave", "SAM1.conv_out"),
            ("attention.directions.first", "SAM1.attention_layer.conv1"),
            ("attention.directions.second", "SAM1.attention_layer.conv2"),
            ("attention.directions.third", "SAM1.attention_layer.conv3"),
            ("attention.unused", "SAM1.conv_in"),
            *(
                (f"blocks.{i}.{ours}", f"res_block{i + 1}.group1.{theirs}")
                for i in range(17)
                for ours, theirs in (("first", "conv1"), ("second", "conv2"), ("third", "conv3"))
            ),
            ("leave", "conv_out.0"),
        ),
    ),
    "dsen2_cr": CheckpointLayout(
        first="head.0",
        first_channels=(1, SAR_BANDS),
        last="body.16",
        names=(
            ("head", "head.0"),
            ("blocks.{}.first", "body.{}.body.0"),
            ("blocks.{}.second", "body.{}.body.2"),
            ("tail", "body.16"),
        ),
    ),
    "glf_cr": CheckpointLayout(
        first="SFENet1",
        first_channels=(4, 0),
        last="UPNet.2",
        names=(
            ("shallow", "SFENet1"),
            ("shallow_sar", "SFENet1_SAR"),
            ("stem", "SFENet2"),
            ("stem_sar", "SFENet2_SAR"),
            ("stages.{}.layers.{}.conv", "RDBs.{}.convs.{}.conv.0"),
            ("stages.{}.layers.{}.conv_sar", "RDBs.{}.convs.{}.conv_SAR.0"),
            *_within("stages.{}.layers.{}", "RDBs.{}.convs.{}", _JOINT_LAYER),
            ("stages.{}.merge", "RDBs.{}.LFF"),
            ("stages.{}.merge_sar", "RDBs.{}.LFF_SAR"),
            *_FUSION_AND_TAIL,
        ),
    ),
    "align_cr": CheckpointLayout(
        first="SFE_conv",
        first_channels=(4, 0),
        last="UPNet.2",
        names=(
            ("stem", "SFE_conv"),
            ("stem_sar", "SFE_conv_SAR"),
            *_within("extract.{}", "SFE_module.{}.body", _WIDE_BLOCK),
            *_within("extract_sar.{}", "SFE_module_SAR.{}.body", _WIDE_BLOCK),
            *_within("stages.{}.align.source", "SFAlign.{}", _PYRAMID, prefix="src_"),
            *_within("stages.{}.align.reference", "SFAlign.{}", _PYRAMID, prefix="ref_"),
            *_within("stages.{}.align", "SFAlign.{}.pcd_align", _CASCADE),
            ("stages.{}.dense.layers.{}", "RDBs.{}.convs.{}.conv.0"),
            ("stages.{}.dense_sar.layers.{}", "RDBs.{}.convs.{}.conv_SAR.0"),
            ("stages.{}.dense.merge", "RDBs.{}.LFF"),
            ("stages.{}.dense_sar.merge", "RDBs.{}.LFF_SAR"),
            *_within("stages.{}.attention", "RDBs.{}.SwinTransformerBlock", _JOINT_LAYER),
            *_FUSION_AND_TAIL,
        ),
    ),
}


def load_checkpoint(name: str, path: Path | str) -> Restorer:
    """Load the weights of a checkpoint that the code of a method's authors wrote.

    No code in the file is executed. It must contain every weight of the method at its published
    size and nothing else; the number of bands is that of the file.

    Args:
        name: A method whose authors' code writes such files: ``mcgan``, ``spa_gan``, ``dsen2_cr``,
            ``glf_cr``, ``align_cr``.
        path: A ``.pth`` file, in which the outer dictionary of the Planet-CR authors' training
            scripts and the prefixes of wrapped networks are optional; of ``dsen2_cr`` also the HDF5
            file of its authors' Keras code, of any size, which needs the extra ``keras``.

    Returns:
        The network, in evaluation mode, in float64 if the file is, otherwise in float32.

    Raises:
        CheckpointError: The file cannot be read, or holds other weights.
        ModelError: Unknown method, or its authors' code writes no such files.
    """
    layout = _layout(name)
    path = Path(path)
    if name == "dsen2_cr" and is_hdf5(path):
        return load_dsen2_cr(path)
    weights = _read(path)
    model = build_model(name, bands=_bands(layout, weights))
    fresh = {key: value for key, value in model.state_dict().items() if not _ends(key, IGNORED)}
    ours = {layout.theirs(key): key for key in fresh}
    _expect_same_weights(name, path, {key: fresh[ours[key]] for key in ours}, weights)
    expect_finite(path, weights)
    double = any(value.dtype == torch.float64 for value in weights.values())
    model.to(torch.float64 if double else torch.float32)
    model.load_state_dict({ours[key]: value for key, value in weights.items()}, strict=False)
    return model.eval()


def _layout(name: str) -> CheckpointLayout:
    if name in LAYOUTS:
        return LAYOUTS[name]
    reason = "its authors' code writes no such files" if name in METHODS else "no such model"
    raise ModelError(f"{name}: {reason}; there are loaders for {', '.join(LAYOUTS)}")


def _bands(layout: CheckpointLayout, weights: Mapping[str, Tensor]) -> int:
    """Optical bands on which the first and the last layer agree; otherwise the default."""
    first, last = weights.get(f"{layout.first}.weight"), weights.get(f"{layout.last}.weight")
    if first is None or last is None or first.ndim != 4 or last.ndim != 4:
        return OPTICAL_BANDS
    per_band, extra = layout.first_channels
    bands = last.shape[0]
    return bands if bands > 0 and first.shape[1] == per_band * bands + extra else OPTICAL_BANDS


def _read(path: Path) -> dict[str, Tensor]:
    """Named weights of a file, without outer dictionaries and wrappers."""
    content = _open(path)
    if isinstance(content, Mapping) and OUTER in content:
        content = content[OUTER]
    if not isinstance(content, Mapping) or not content:
        got = "an empty one" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise CheckpointError(
            f"{path}: expected a dictionary of weights, got {got}; save the network's state_dict()"
        )
    strange = [str(key) for key, value in content.items() if not _is_ordinary(key, value)]
    if strange:
        raise CheckpointError(
            f"{path}: expected a dictionary of weights, or one under the key {OUTER!r}, but holds "
            f"something else under {some(strange)}; save the network's state_dict()"
        )
    weights = unwrapped(content)
    if all(key.startswith(PREFIX) for key in weights):
        weights = {key.removeprefix(PREFIX): value for key, value in weights.items()}
    return {key: value for key, value in weights.items() if not _ends(key, IGNORED)}


def _open(path: Path) -> Any:
    """Load a file in the authors' format."""
    expect_file(path, "a checkpoint file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path}: is empty; copy or download it again")
    for is_other, kind in ((start[8:9] == b"{", "safetensors"), (start[1:4] == b"HDF", "Keras")):
        if is_other:
            raise CheckpointError(
                f"{path}: expected a PyTorch checkpoint as the authors' code writes it, found a "
                f"{kind} file"
            )
    return unpickle(path, "PyTorch checkpoint")


def _is_ordinary(key: object, value: object) -> bool:
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and (value.dtype in FLOATS or _ends(key, IGNORED + OPTIONAL))
    )


def _expect_same_weights(
    name: str, path: Path, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Refuse missing and surplus names and other shapes; all names are those of the authors."""
    optional = [key for key in expected if _ends(key, OPTIONAL)]
    problems = differences(expected, weights, optional=optional)
    if not problems:
        return
    owners = [
        other
        for other, layout in LAYOUTS.items()
        if other != name and {f"{layout.first}.weight", f"{layout.last}.weight"} <= weights.keys()
    ]
    remedy = f"is it of {owners[0]}?" if owners else "is it of another method or size?"
    raise CheckpointError(f"{path}: does not hold the weights of {name}; {remedy}", problems)


def _ends(key: str, last_parts: tuple[str, ...]) -> bool:
    return key.rpartition(".")[2] in last_parts
