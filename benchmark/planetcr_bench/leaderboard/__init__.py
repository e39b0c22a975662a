"""Build the leaderboard from results: one static page, and Markdown, JSON and BibTeX."""
