"""One page about a run, or several: HTML that needs nothing else, and Markdown."""
