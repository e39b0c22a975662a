# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Evaluate a network of your own
#
# From a `torch.nn.Module` to scores with intervals, beside a baseline. It needs the extra
# `models`, and the tiny simulated dataset: `planetcr-bench simulate SIM --size tiny`.

# %%
import torch

import planetcr_bench as pb

scenes = pb.open_dataset("SIM", "test")
scenes[0].name, scenes[0].cloudy.shape, scenes[0].sar.shape


# %% [markdown]
# ## A network
#
# Anything with `forward(cloudy, sar)` will do: cloudy images `(B, 4, H, W)` and SAR `(B, 2, h,
# w)` on its own grid come in, both in [0, 1]; `(B, 4, H, W)` goes out. This one is as small as
# networks get: it fits a residual from image and SAR.


# %%
class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(6, 16, 5, padding=2, padding_mode="reflect"),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 4, 5, padding=2, padding_mode="reflect"),
        )

    def forward(self, cloudy: torch.Tensor, sar: torch.Tensor) -> torch.Tensor:
        sar = torch.nn.functional.interpolate(sar, cloudy.shape[-2:], mode="nearest")
        return cloudy + self.layers(torch.cat([cloudy, sar], dim=1))


# %% [markdown]
# ## Train it
#
# The training split is a map-style dataset for a DataLoader. A minute is not enough for a good
# network, but for one that beats its input; [Training](../training.md) has the commands for real
# ones.

# %%
torch.manual_seed(0)
network = Small()
train = pb.open_dataset("SIM", "train").torch(crop=160, augment=True, seed=0)
optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
for epoch in range(10):
    train.set_epoch(epoch)
    for batch in torch.utils.data.DataLoader(train, batch_size=4, shuffle=True):
        loss = (network(batch["cloudy"], batch["sar"]) - batch["clear"]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
loss.item()

# %% [markdown]
# ## Score it
#
# All scenes, both protocols, in one call. `results="results"` would also write report and ledger,
# as `evaluate` does.

# %%
ours = pb.evaluate(network.eval(), scenes, name="small")
ours.table2()

# %%
ours.by("region")

# %% [markdown]
# ## Compare it
#
# The baseline is to leave every image as it is.

# %%
unchanged = pb.evaluate(lambda scene: scene.cloudy, scenes, name="unchanged")
comparison = pb.compare([ours, unchanged])
comparison.significance()

# %% [markdown]
# The intervals are over areas, and ten scenes come from few of them: see [Why are the intervals
# so wide?](../faq.md#why-are-the-intervals-so-wide) The next notebook, [Read a
# ledger](read_a_ledger.py), asks where the errors lie.
