"""Segment land cover with DeepLabv3+, and save and load its weights.

The paper trains it on cloud-free images and reports its mIoU and pixel accuracy on restored ones
(Sec. 5.3, Tab. 3, Fig. 6). The paper states only DeepLabv3+ with ResNet-50, so scores compare only
if they come from the same segmenter: :func:`save_segmenter` writes a card with its hash beside it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from planetcr_models.errors import CheckpointError, InputError, ModelError
from planetcr_models.inference import Precision, ready
from planetcr_models.networks.base import OPTICAL_BANDS, margins, reflect_pad, refuse_small
from planetcr_models.segmentation.loss import CLASSES
from planetcr_models.weights.cards import card_path, card_text, check_card
from planetcr_models.weights.checkpoint import (
    differences,
    expect_finite,
    is_safetensors,
    parse_options,
    read_safetensors,
    read_state_dict,
    write_safetensors,
)
from planetcr_models.weights.files import expect_options, load_state
from planetcr_models.weights.paths import atomic_path, file_sha256
from planetcr_models.weights.pretrained import SEGMENTER
from planetcr_models.weights.sources import find_weights
from planetcr_models.weights.wrappers import unwrapped

RESNETS: Final = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""The paper uses resnet50."""

LIGHT_ENCODERS: Final = (
    "mobilenet_v2",
    "tu-mobilenetv2_050",
    "tu-mobilenetv3_small_100",
    "tu-mobilenetv4_conv_small_050",
    "tu-lcnet_100",
)
"""Encoders of 0.4 to 2.2 million weights; ``tu-`` marks those of timm.

Of timm's light encoders, those that can be dilated to both output strides.
"""

ENCODERS: Final = (*RESNETS, *LIGHT_ENCODERS)
"""All accepted encoders, by their names in segmentation_models_pytorch."""

MOST_DECODER_CHANNELS: Final = 1024
"""Also in files: the decoder takes memory for them before its weights are read."""

MULTIPLE: Final = 16
"""The sides of padded images are multiples of this."""

FORMAT: Final = "planetcr_models.segmentation.deeplab"
"""Format name in segmenter files, the key of their only metadata entry.

There is only one because safetensors writes several in random order, and the hash would differ.
"""

VERSION: Final = "1"
"""Version of the metadata; raised when older versions of this package cannot read it."""

_COLOURS: Final = 3  # red, green, blue: the bands of ImageNet's pictures

_TIMM: Final = "tu-"  # begins the names of timm's encoders

_HEADS: Final = ("fc.", "classifier.", "conv_head.", "norm_head.", "bn2.")
"""What classifies pictures, in files of torchvision and timm; encoders do without."""


class Segmenter(nn.Module):
    """DeepLabv3+ of segmentation_models_pytorch, for images of any size.

    The paper states only DeepLabv3+ with ResNet-50 (Sec. 5.3); the other defaults are those of
    segmentation_models_pytorch. With 300 pixels per side the innermost map has 19, so the outer
    taps of rates 24 and 36 see only padding.

    Args:
        bands: Bands of the image: blue, green, red, near-infrared.
        classes: Land-cover classes, 2 to 256.
        encoder: One of :data:`ENCODERS`, with random weights; see :func:`load_encoder`.
        output_stride: Image pixels per pixel of the innermost map: 16, or 8 at triple the cost.
        rates: Dilation rates of the three atrous branches.
        separable: Whether these branches convolve depthwise; False has 12.5 million more weights.
        decoder_channels: Channels of the atrous branches and of the decoder, 1 to 1024. Fewer make
            a light segmenter: with a light encoder, most weights are the decoder's.

    Attributes:
        options: Its options; ``Segmenter(**segmenter.options)`` makes an equal network.
        mean: Mean that is subtracted from each band, a buffer of shape (bands,); initially 0.
        std: Standard deviation that each band is then divided by, likewise; initially 1.

    Raises:
        ModelError: Invalid options.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        bands: int = OPTICAL_BANDS,
        classes: int = CLASSES,
        encoder: str = "resnet50",
        output_stride: int = 16,
        rates: Sequence[int] = (12, 24, 36),
        separable: bool = True,
        decoder_channels: int = 256,
    ) -> None:
        import segmentation_models_pytorch as smp

        super().__init__()
        if encoder not in ENCODERS:
            raise ModelError(
                f"segmenter: expected an encoder of {', '.join(ENCODERS)}, got {encoder}"
            )
        if (
            bands < 1
            or not 2 <= classes <= 256
            or output_stride not in (8, 16)
            or len(rates) != 3
            or min(rates) < 1
            or not 1 <= decoder_channels <= MOST_DECODER_CHANNELS
        ):
            raise ModelError(
                "segmenter: expected 1 band or more, 2 to 256 classes, an output stride of 8 or "
                f"16, three rates of 1 or more and 1 to {MOST_DECODER_CHANNELS} decoder channels, "
                f"got {bands}, {classes}, {output_stride}, {tuple(rates)} and {decoder_channels}"
            )
        self.options: Mapping[str, Any] = {
            "bands": bands,
            "classes": classes,
            "encoder": encoder,
            "output_stride": output_stride,
            "rates": tuple(rates),
            "separable": separable,
            "decoder_channels": decoder_channels,
        }
        self.network = smp.DeepLabV3Plus(
            encoder_name=encoder,
            encoder_weights=None,  # anything else would be downloaded
            encoder_output_stride=output_stride,
            decoder_atrous_rates=tuple(rates),
            decoder_aspp_separable=separable,
            decoder_channels=decoder_channels,
            in_channels=bands,
            classes=classes,
        )
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))

    def set_normalisation(self, mean: ArrayLike | Tensor, std: ArrayLike | Tensor) -> None:
        """Set the normalisation of the bands; it is saved with the weights.

        Args:
            mean: Mean reflectance of each band, shape (bands,).
            std: Standard deviation likewise, greater than 0.

        Raises:
            InputError: Another shape, numbers that are not finite, or a deviation of 0 or less.
        """
        numbers = [torch.as_tensor(values).to(self.mean) for values in (mean, std)]
        for name, given in zip(("mean", "std"), numbers, strict=True):
            if given.shape != self.mean.shape:
                raise InputError(
                    f"{name}: expected one number per band, shape {tuple(self.mean.shape)}, got "
                    f"{tuple(given.shape)}"
                )
            if not given.isfinite().all() or (name == "std" and not (given > 0).all()):
                above = " above 0" if name == "std" else ""
                raise InputError(f"{name}: expected finite numbers{above}, got {given.tolist()}")
        self.mean.copy_(numbers[0])
        self.std.copy_(numbers[1])

    def forward(self, image: Tensor) -> Tensor:
        """Segment a batch of images.

        Args:
            image: Reflectance, shape (B, bands, H, W), H and W at least 32; clamped to [0, 1],
                since restored images may exceed it.

        Returns:
            Logits, shape (B, classes, H, W).

        Raises:
            InputError: A wrong shape, values that are not floats, or a single image in training,
                for which batch normalisation has no variance.
        """
        self.check(image)
        height, width = image.shape[-2:]
        image = image.to(self.mean.dtype).clamp(0, 1)
        image = (image - self.mean[:, None, None]) / self.std[:, None, None]
        logits: Tensor = self.network(reflect_pad(image, MULTIPLE))
        top, left = (margins(side, MULTIPLE)[0] for side in (height, width))
        return logits[..., top : top + height, left : left + width]

    def check(self, image: Tensor) -> None:
        """Raise InputError unless :meth:`forward` accepts the images."""
        if not image.is_floating_point():
            raise InputError(
                f"segmenter: expected reflectance in [0, 1] as floats, got images of {image.dtype}"
            )
        bands = self.options["bands"]
        if image.ndim != 4 or image.shape[1] != bands or not len(image):
            raise InputError(
                f"segmenter: expected images of shape (B, {bands}, H, W), got {tuple(image.shape)}"
            )
        refuse_small("segmenter", tuple(image.shape[-2:]))
        if self.training and len(image) == 1:
            raise InputError("segmenter: in training, expected a batch of 2 images or more, got 1")


def classify(
    segmenter: Segmenter,
    images: NDArray[np.floating],
    *,
    device: str | torch.device | None = None,
    precision: Precision = "32",
) -> NDArray[np.uint8]:
    """Segment images of one size.

    Args:
        segmenter: Runs in evaluation mode; its own mode is restored.
        images: Reflectance, shape (B, bands, H, W), H and W at least 32; clamped to [0, 1].
        device: See ``choose_device``; the segmenter stays there. By
            default its own.
        precision: ``bf16`` is faster on a GPU; it changes the class of some pixels, so it is never
            the default.

    Returns:
        Class indices, shape (B, H, W).

    Raises:
        InputError: A wrong shape, or values that are not floats or not finite.
        ModelError: No such device, or too little memory on it.
    """
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise InputError("images: expected finite reflectance, got nan or infinity")
    tensor = torch.from_numpy(np.array(images, images.dtype.newbyteorder("=")))  # any byte order
    with ready(segmenter, device, precision) as run:
        segmenter.check(tensor)
        return run(tensor).argmax(dim=1).to(torch.uint8).cpu().numpy()


# --- Files --------------------------------------------------------------------------------------


def load_encoder(segmenter: Segmenter, source: Path | str) -> Path:
    """Initialise the encoder of a segmenter with weights trained on colour pictures.

    The kernels of the first convolution for red, green and blue go to the bands of that colour;
    further bands (near-infrared) get the mean of the three, and all are scaled by 3 / bands, so
    that the response to a grey image is unchanged. Nothing is downloaded. The paper does not say
    whether its authors did this.

    Args:
        segmenter: With 3 bands or more, starting with blue, green, red.
        source: Weights of the encoder's network with the names of torchvision, or of timm for
            encoders whose names begin with ``tu-``, ``.pth`` or safetensors; or ``imagenet``, for
            the file of that library in the local cache of huggingface_hub.

    Returns:
        The file that was read.

    Raises:
        CheckpointError: The file is missing, cannot be read, or holds other weights.
        ModelError: The segmenter has fewer bands.
    """
    name, bands = segmenter.options["encoder"], segmenter.options["bands"]
    if bands < _COLOURS:
        raise ModelError(f"segmenter: expected 3 bands or more, for the colours, got {bands}")
    path = _cached(name) if source == "imagenet" else Path(source)
    weights = read_safetensors(path)[0] if is_safetensors(path) else read_state_dict(path)
    weights = {key: v for key, v in unwrapped(weights).items() if not key.startswith(_HEADS)}
    encoder = segmenter.network.encoder
    prefix = "model." if name.startswith(_TIMM) else ""  # of the network that timm made
    state: dict[str, Tensor] = {
        key.removeprefix(prefix): value for key, value in encoder.state_dict().items()
    }
    stem, kernel = next(iter(state.items()))
    expected = state | {stem: kernel[:, :1].expand(-1, _COLOURS, -1, -1)}
    counters = [key for key in state if key.endswith("num_batches_tracked")]  # not in older files
    problems = differences(expected, weights, optional=counters)
    if problems:
        library = "timm" if prefix else "torchvision"
        raise CheckpointError(
            f"{path}: expected the weights of a {name.removeprefix(_TIMM)} as {library} names "
            "them, got others; use the file of that network, or create the segmenter with the "
            "encoder of the file",
            problems,
        )
    expect_finite(path, weights)
    weights[stem] = _by_colour(weights[stem], bands)
    encoder.load_state_dict({prefix + key: value for key, value in (state | weights).items()})
    return path


def _by_colour(kernel: Tensor, bands: int) -> Tensor:
    """Kernels for (red, green, blue) as kernels for (blue, green, red, others …)."""
    others = kernel.mean(dim=1, keepdim=True).expand(-1, bands - _COLOURS, -1, -1)
    return torch.cat((kernel.flip(1), others), dim=1) * (_COLOURS / bands)


def _cached(encoder: str) -> Path:
    """Find the file of ImageNet weights that segmentation_models_pytorch or timm downloads."""
    from huggingface_hub import try_to_load_from_cache

    name, revision = _repository(encoder)
    path = try_to_load_from_cache(name, "model.safetensors", revision=revision)
    if not isinstance(path, str):
        version = f", revision {revision}," if revision else ""
        library = "timm" if encoder.startswith(_TIMM) else "torchvision"
        raise CheckpointError(
            f"imagenet: expected model.safetensors of {name}{version} in the local "
            "cache of huggingface_hub, found none, and nothing is downloaded here; give the path "
            f"of {library}'s file of {encoder.removeprefix(_TIMM)} instead, or train from scratch"
        )
    return Path(path)


def _repository(encoder: str) -> tuple[str, str | None]:
    """Where the Hub keeps the ImageNet weights of an encoder: repository and revision."""
    if encoder.startswith(_TIMM):
        import timm

        configuration = timm.get_pretrained_cfg(encoder.removeprefix(_TIMM))
        assert configuration is not None
        return str(configuration.hf_hub_id), None
    from segmentation_models_pytorch import encoders

    settings = encoders.encoders[encoder]["pretrained_settings"]["imagenet"]
    return settings["repo_id"], settings["revision"]


def save_segmenter(segmenter: Segmenter, path: Path | str, card: Mapping[str, Any]) -> str:
    """Write a segmenter, and beside it a card with its origin and scores.

    Args:
        segmenter: The segmenter.
        path: File of the weights, usually ``.safetensors``; the card gets the same name with
            ``.json``. Existing files are replaced.
        card: JSON values: fingerprint and track of the data, scores on held-out cloud-free images,
            …; ``options`` and ``sha256`` are added. Unknown values (nan) are None.

    Returns:
        SHA-256 of the weight file, equal for equal weights, normalisation and options.

    Raises:
        ModelError: The card is not valid JSON, or has the name of the weights.
        OSError: The files cannot be written.
    """
    path = Path(path)
    if path.suffix == ".json":
        raise ModelError(f"{path}: is the name of the card; name the weights .safetensors")
    options = dict(segmenter.options)
    metadata = {FORMAT: json.dumps({"version": VERSION, "options": options})}
    # The weights take their place first: left by the inner context.
    with atomic_path(card_path(path)) as card_file, atomic_path(path) as weights_file:
        write_safetensors(weights_file, segmenter.state_dict(), metadata)
        digest = file_sha256(weights_file)
        text = card_text({**card, "options": options, "sha256": digest})
        card_file.write_text(text, encoding="utf-8")
    return digest


def create_segmenter(*, pretrained: str | Path | None = None, **options: Any) -> Segmenter:
    """Make a segmenter, with random weights or with trained ones.

    Args:
        pretrained: As in ``create_model``: a name of ``list_pretrained``, a file, the folder of a
            training run or an address on the Hugging Face Hub. By default none.
        **options: Of :class:`Segmenter`. Trained weights bring their own.

    Returns:
        The segmenter: random in training mode, pretrained in evaluation mode.

    Raises:
        ModelError: Unknown or invalid option or name, or options that the weights were not made
            with.
        CheckpointError: The weights cannot be read or downloaded, or are no segmenter's.
    """
    known = inspect.signature(Segmenter).parameters
    surplus = [option for option in options if option not in known]
    if surplus:
        raise ModelError(
            f"segmenter: has no option {', '.join(surplus)}; it has {', '.join(known)}"
        )
    if pretrained is None:
        return Segmenter(**options)
    path = find_weights(SEGMENTER, pretrained).path
    segmenter = load_segmenter(path)
    options |= {"rates": tuple(options["rates"])} if "rates" in options else {}
    expect_options(path, "a segmenter", segmenter.options, options)
    return segmenter


def load_segmenter(path: Path | str) -> Segmenter:
    """Load a segmenter that :func:`save_segmenter` wrote.

    Args:
        path: The file of the weights. A card beside it is optional, but must be its own.

    Returns:
        The segmenter, in evaluation mode, in float64 if the weights are, otherwise in float32.

    Raises:
        CheckpointError: The file cannot be read, has another format, or does not match the card.
    """
    path = Path(path)
    options = _options_of(path, read_safetensors(path)[1])
    check_card(path)
    try:
        segmenter = _build(options)
    except (ModelError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: describes a segmenter that cannot be built ({error}); update planetcr-bench"
        ) from error
    load_state(segmenter, path)
    return segmenter.eval()


_MOST_BANDS: Final = 100
"""Bands of a segmenter in a file: the encoder takes memory for each before its weights are read."""


def _build(options: Mapping[str, Any]) -> Segmenter:
    bands = options.get("bands", OPTICAL_BANDS)
    if type(bands) is int and bands > _MOST_BANDS:
        raise ModelError(f"segmenter: expected at most {_MOST_BANDS} bands, got {bands}")
    return Segmenter(**options)


def _options_of(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read the options that a file names."""
    if FORMAT not in metadata:
        raise CheckpointError(
            f"{path}: expected a segmenter, as `planetcr-bench train segmenter` or save_segmenter "
            "writes it, found safetensors of another origin"
        )
    try:
        entry = parse_options(metadata[FORMAT])
        version, options = entry["version"], dict(entry["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: states no version and options; save it again") from error
    if version != VERSION:
        raise CheckpointError(
            f"{path}: expected format version {VERSION}, got {version}; update planetcr-bench"
        )
    return options
