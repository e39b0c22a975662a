"""What ``import planetcr_bench`` offers: a thin door over the rooms below, nothing of its own."""
