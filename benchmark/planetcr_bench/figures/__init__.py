"""One module per figure, drawn from ledgers."""
