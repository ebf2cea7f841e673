"""Show rankings: Markdown, HTML, JSON, a terminal's tables."""
