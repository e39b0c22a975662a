"""Create networks by name: the methods of the paper's Tab. 2."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from planetcr_models.errors import ModelError
from planetcr_models.networks.align_cr import AlignCR, AlignCRNoSar
from planetcr_models.networks.base import Restorer
from planetcr_models.networks.dsen2_cr import DSen2CR
from planetcr_models.networks.glf_cr import GLFCR
from planetcr_models.networks.mcgan import McGAN
from planetcr_models.networks.sar_opt_cgan import SarOptCGAN
from planetcr_models.networks.spa_gan import SpAGAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What to know of a method before using it.

    Attributes:
        title: Its name in the literature.
        paper: Authors, title and venue.
        network: Builds it.
        fixed: Keywords of ``network`` that make it this method and no other.
        provenance: ``re-implementation`` of published code, or ``reconstruction`` from a text.
        licence: Of the authors' code, as published; ours is Apache-2.0 and none of theirs.
        weights: What pretrained weights exist, and whether they can be loaded.
    """

    title: str
    paper: str
    network: Callable[..., Restorer]
    provenance: str
    licence: str
    weights: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Options of :func:`create_model` and their defaults, which are the paper's."""
        keywords = inspect.signature(self.network).parameters.values()
        return {word.name: word.default for word in keywords if word.name not in self.fixed}


_PLANET_CR = (
    "Xu, Shi, Ebel, Yang, Zhu: High-Resolution Cloud Removal with Multi-Modal and Multi-Resolution "
    "Data Fusion: A New Baseline and Benchmark, arXiv 2301.03432, 2023"
)

METHODS: Final[dict[str, Method]] = {
    "mcgan": Method(
        title="McGAN",
        paper="Enomoto, Sakurada, Wang, Fukui, Matsuoka, Nakamura, Kawaguchi: Filmy Cloud Removal "
        "on Satellite Imagery with Multispectral Conditional Generative Adversarial Nets, CVPR "
        "Workshops 2017",
        network=McGAN,
        provenance="re-implementation",
        licence="academic use only",
        weights="for visible bands and a clean near-infrared, on a file host; they load where four "
        "bands come out",
    ),
    "spa_gan": Method(
        title="SpA GAN",
        paper="Pan: Cloud Removal for Remote Sensing Imagery via Spatial Attention Generative "
        "Adversarial Network, arXiv 2009.13015, 2020",
        network=SpAGAN,
        provenance="re-implementation",
        licence="MIT",
        weights="published for three bands (RICE1, RICE2); they load, and agree",
    ),
    "sar_opt_cgan": Method(
        title="SAR-Opt-cGAN",
        paper="Grohnfeldt, Schmitt, Zhu: A Conditional Generative Adversarial Network to Fuse SAR "
        "and Multispectral Optical Data for Cloud Removal from Sentinel-2 Images, IGARSS 2018",
        network=SarOptCGAN,
        provenance="reconstruction",
        licence="no code",
        weights="none",
    ),
    "dsen2_cr": Method(
        title="DSen2-CR",
        paper="Meraner, Ebel, Zhu, Schmitt: Cloud removal in Sentinel-2 imagery using a deep "
        "residual neural network and SAR-optical data fusion, ISPRS Journal 166, 2020",
        network=DSen2CR,
        provenance="re-implementation",
        licence="GPL-3.0; the Planet-CR authors' port: none stated",
        weights="none for four bands; the Planet-CR authors' files load when there are some",
    ),
    "glf_cr": Method(
        title="GLF-CR",
        paper="Xu, Shi, Ebel, Yu, Xia, Yang, Zhu: GLF-CR: SAR-Enhanced Cloud Removal with "
        "Global-Local Fusion, ISPRS Journal 192, 2022",
        network=GLFCR,
        provenance="re-implementation",
        licence="none stated",
        weights="none for four bands; the authors' files load when there are some",
    ),
    "align_cr_no_sar": Method(
        title="Align-CR w/o SAR",
        paper=_PLANET_CR,
        network=AlignCRNoSar,
        provenance="reconstruction",
        licence="no code",
        weights="none",
    ),
    "align_cr_no_align": Method(
        title="Align-CR w/o Align",
        paper=_PLANET_CR,
        network=AlignCR,
        fixed={"align": False},
        provenance="reconstruction",
        licence="no code",
        weights="none",
    ),
    "align_cr": Method(
        title="Align-CR",
        paper=_PLANET_CR,
        network=AlignCR,
        provenance="re-implementation",
        licence="none stated",
        weights="announced, not released; the authors' files load when there are some",
    ),
}


def list_models() -> tuple[str, ...]:
    """Names that :func:`create_model` takes, in the order of the paper's Tab. 2."""
    return tuple(METHODS)


def create_model(name: str, **options: Any) -> Restorer:
    """Make a network with fresh weights, initialised as its authors do.

    Args:
        name: One of :func:`list_models`.
        **options: Such as ``width=32``; see :meth:`Method.options`.

    Returns:
        The network, in training mode.

    Raises:
        ModelError: There is no such method, it has no such option, or a value makes no sense.
    """
    if name not in METHODS:
        raise ModelError(f"{name}: no such model; there are {', '.join(METHODS)}")
    method = METHODS[name]
    known = method.options()
    surplus = [option for option in options if option not in known]
    if surplus:
        raise ModelError(f"{name}: has no option {', '.join(surplus)}; it has {', '.join(known)}")
    strange = [
        f"{option}={value!r}"
        for option, value in options.items()
        if not is_like(value, known[option])
    ]
    if strange:
        raise ModelError(
            f"{name}: expected {', '.join(f'{key}={known[key]!r}' for key in options)} or other "
            f"values of these types, got {', '.join(strange)}"
        )
    model = method.network(**method.fixed, **options)
    model.method, model.options = name, dict(options)
    return model


def is_like(value: object, default: object) -> bool:
    """Whether an option has the type of its default; a finite number may be whole."""
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isfinite(value)
    return type(value) is type(default)
