"""Documents of text, tables and pictures, written as Markdown, as one HTML page, and (tables) as LaTeX."""
