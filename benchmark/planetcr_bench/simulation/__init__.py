"""Simulate datasets in the official layout, with known hidden truth.

::

    place      a seed and a number -> the parameters of one AOI
    land       a place and a grid -> fields, parcels and the kinds of land on it
    sky        a place and a grid -> optical thickness of cloud and haze, and the cloud mask
    survey     a place -> properties of the whole AOI: levels of the land, mask, patches
    objects    kinds of land -> the objects on them: rivers, roads, towns, trees
    surface    a survey and a patch -> the state of the ground: materials, light, reflectance
    optical, radar, land_cover    one renderer per product, from that state
    scene      a survey and a patch -> the quartet, and its hidden truth
    writer     a size and a seed -> a dataset on disk

Every random number is a function of a key and a position in the AOI (``noise``), so adjacent
patches share land and sky to the pixel, in any order and with any number of workers.
"""
