"""Reports: blocks of results, and how they become Markdown and one HTML file."""
