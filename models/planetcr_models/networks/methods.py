"""Describe each method of the paper's Tab. 2; imports no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Facts about a method.

    Attributes:
        title: Its name in the literature.
        paper: Authors, title and venue.
        provenance: ``re-implementation`` of published code, or ``reconstruction`` from a text.
        licence: Of the authors' code, as published; ours is Apache-2.0 and none of theirs.
        weights: What pretrained weights exist, and whether they can be loaded.
        parameters: Number of trainable parameters, including unused ones.
        macs: Multiply-accumulates of restoring a square image, by its side, as
            ``complexity.count_macs`` counts them; half the floating-point operations.
        uses_sar: False if SAR is accepted and ignored.
    """

    title: str
    paper: str
    provenance: str
    licence: str
    weights: str
    parameters: int
    macs: Mapping[int, int]
    uses_sar: bool = True


_PLANET_CR = (
    "Xu, Shi, Ebel, Yang, Zhu: Multimodal and Multiresolution Data Fusion for High-Resolution "
    "Cloud Removal: A Novel Baseline and Benchmark, IEEE TGRS 62, 2024 (arXiv 2301.03432, 2023)"
)

METHODS: Final[dict[str, Method]] = {
    "mcgan": Method(
        title="McGAN",
        paper="Enomoto, Sakurada, Wang, Fukui, Matsuoka, Nakamura, Kawaguchi: Filmy Cloud Removal "
        "on Satellite Imagery with Multispectral Conditional Generative Adversarial Nets, CVPR "
        "Workshops 2017",
        provenance="re-implementation",
        licence="academic use only",
        weights="for visible bands with a clean near-infrared band, on a file host; can be loaded "
        "if they output four bands",
        parameters=54_418_180,
        macs={160: 24_041_750_528, 300: 54_093_938_688},
        uses_sar=False,
    ),
    "spa_gan": Method(
        title="SpA GAN",
        paper="Pan: Cloud Removal for Remote Sensing Imagery via Spatial Attention Generative "
        "Adversarial Network, arXiv 2009.13015, 2020",
        provenance="re-implementation",
        licence="MIT",
        weights="published for three bands (RICE1, RICE2); can be loaded, with equal outputs",
        parameters=219_876,
        macs={160: 5_934_284_800, 300: 20_862_720_000},
        uses_sar=False,
    ),
    "sar_opt_cgan": Method(
        title="SAR-Opt-cGAN",
        paper="Grohnfeldt, Schmitt, Zhu: A Conditional Generative Adversarial Network to Fuse SAR "
        "and Multispectral Optical Data for Cloud Removal from Sentinel-2 Images, IGARSS 2018",
        provenance="reconstruction",
        licence="no code",
        weights="none",
        parameters=54_419_076,
        macs={160: 6_132_072_448, 300: 24_528_289_792},
    ),
    "dsen2_cr": Method(
        title="DSen2-CR",
        paper="Meraner, Ebel, Zhu, Schmitt: Cloud removal in Sentinel-2 imagery using a deep "
        "residual neural network and SAR-optical data fusion, ISPRS Journal 166, 2020",
        provenance="re-implementation",
        licence="GPL-3.0; the Planet-CR authors' port: none stated",
        weights="published for 13 bands, as Keras files on a file host, which can be loaded; none "
        "for four bands",
        parameters=18_905_860,
        macs={160: 483_773_644_800, 300: 1_700_766_720_000},
    ),
    "glf_cr": Method(
        title="GLF-CR",
        paper="Xu, Shi, Ebel, Yu, Xia, Yang, Zhu: GLF-CR: SAR-Enhanced Cloud Removal with "
        "Global-Local Fusion, ISPRS Journal 192, 2022",
        provenance="re-implementation",
        licence="none stated",
        weights="published for 13 bands on a file host, which can be loaded; none for four bands",
        parameters=14_735_780,
        macs={160: 96_857_702_400, 300: 349_656_305_664},
    ),
    "align_cr_no_sar": Method(
        title="Align-CR w/o SAR",
        paper=_PLANET_CR,
        provenance="reconstruction",
        licence="no code",
        weights="none",
        parameters=6_121_260,
        macs={160: 39_510_835_200, 300: 142_634_115_072},
        uses_sar=False,
    ),
    "align_cr_no_align": Method(
        title="Align-CR w/o Align",
        paper=_PLANET_CR,
        provenance="reconstruction",
        licence="no code",
        weights="none",
        parameters=16_360_468,
        macs={160: 105_474_048_000, 300: 380_761_313_280},
    ),
    "align_cr": Method(
        title="Align-CR",
        paper=_PLANET_CR,
        provenance="re-implementation",
        licence="none stated",
        weights="announced, not released; the authors' files can be loaded once published",
        parameters=45_528_532,
        macs={160: 183_004_569_600, 300: 660_646_496_256},
    ),
}
"""Parameters and multiply-accumulates are those of the default options; tests count them."""


def list_models() -> tuple[str, ...]:
    """Names that ``create_model`` accepts, in the order of the paper's Tab. 2."""
    return tuple(METHODS)
