"""Pages that explain the API to whoever reads them in a browser; made from its description, without a script."""
