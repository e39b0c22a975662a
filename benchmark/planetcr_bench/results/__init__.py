"""Store ledgers and derive scores by group, comparability and published figures."""
