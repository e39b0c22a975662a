"""Test that fingerprints depend on pixels alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from planetcr_bench.data.fingerprint import fingerprint_of, pixel_digest
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product
from scenes import write_dataset, write_tif


def test_the_fingerprint_is_of_the_pixels_not_of_the_files(tmp_path: Path) -> None:
    plain, packed = (
        find_scenes(write_dataset(tmp_path / name, test=2), "test") for name in ("plain", "packed")
    )
    for files in packed:
        radar = read_product(files, "sar")
        corner = (radar.transform.c, radar.transform.f)
        write_tif(files.path("sar"), radar.pixels, corner, 10, radar.crs, compress="deflate")
    assert fingerprint_of(plain, workers=0) == fingerprint_of(packed, workers=0)
    mask = np.load(packed[0].path("cloud_mask"))
    mask[7, 7] ^= True
    np.save(packed[0].path("cloud_mask"), mask)
    assert fingerprint_of(plain, workers=0) != fingerprint_of(packed, workers=0)


def test_the_fingerprint_does_not_depend_on_the_order_of_scenes(data: Path) -> None:
    scenes = find_scenes(data, "test")
    assert fingerprint_of(scenes, workers=0) == fingerprint_of(scenes[::-1], workers=0)


def test_a_digest_depends_on_dtype_shape_and_values_but_not_on_byte_order() -> None:
    a = np.arange(6, dtype="<u2")
    assert pixel_digest(a) == pixel_digest(a.astype(">u2"))
    assert pixel_digest(a) != pixel_digest(a.astype("<u4"))
    assert pixel_digest(a) != pixel_digest(a.reshape(2, 3))
    assert pixel_digest(a.reshape(2, 3)) == pixel_digest(np.asfortranarray(a.reshape(2, 3)))
