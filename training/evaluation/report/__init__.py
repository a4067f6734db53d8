"""The evaluation report: blocks of results, and their rendering as Markdown and as one HTML file."""
