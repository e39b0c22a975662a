"""Train a network: recipes, losses, objectives, loader, trainer, checkpoints."""
