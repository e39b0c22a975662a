"""Tables, and the reports that are written from them."""
