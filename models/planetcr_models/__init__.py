"""Networks for cloud removal. They follow in a later release; nothing is here yet."""
