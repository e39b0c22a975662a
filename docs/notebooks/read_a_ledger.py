# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Read a ledger: which pixels fail, and is it significant?
#
# A ledger holds the sums of every scene. Without any image it answers where a method fails and
# whether a difference is real. Here two baselines are scored first; with runs of your own,
# `pb.load_run("results/TRACK/NAME")` is enough.

# %%
import planetcr_bench as pb

scenes = pb.open_dataset("SIM", "test")


def darker(scene: pb.Scene):
    """Darken the whole image, clouds or not."""
    return scene.cloudy * 0.8


def filled(scene: pb.Scene):
    """Replace cloudy pixels by the mean of the clear ones."""
    image = scene.cloudy.copy()
    if not scene.cloud_mask.all():
        clear = ~scene.cloud_mask
        image[:, scene.cloud_mask] = image[:, clear].mean(axis=1, keepdims=True)
    return image


darker_run = pb.evaluate(darker, scenes, name="darker")
filled_run = pb.evaluate(filled, scenes, name="filled")

# %% [markdown]
# ## Where does it fail?
#
# Under clouds, at their edges, in clear pixels. `filled` leaves clear pixels alone, `darker`
# harms them.

# %%
darker_run.by("region")

# %%
filled_run.by("region")

# %% [markdown]
# By land cover and cloud cover:

# %%
filled_run.by("land_cover", "cover_bin")

# %% [markdown]
# ## The rows themselves
#
# One row per scene, protocol, class, region: sums, never means, so any grouping is a sum and one
# division ([columns](../metrics-and-ledger.md#the-ledger)). The scenes with the largest error per
# value:

# %%
frame = filled_run.ledger.frame
full = frame[frame["protocol"] == "full"]
sums = full.groupby("scene", observed=True)[["absolute_error", "values"]].sum()
(sums["absolute_error"] / sums["values"]).sort_values(ascending=False).head()

# %% [markdown]
# That agrees with the score of the run, which pools all pixels:

# %%
mae = sums["absolute_error"].sum() / sums["values"].sum()
assert abs(mae - filled_run.scores()["mae"]) < 1e-12

# %% [markdown]
# ## Is it significant?
#
# Paired differences over areas, with p corrected by Holm's rule
# ([definitions](../metrics-and-ledger.md#statistical-significance)).

# %%
pb.compare([darker_run, filled_run]).significance()
