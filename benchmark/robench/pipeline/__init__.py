"""The method on one page (``flow.py``), and its stages."""
