"""Models of which is known exactly, image by image, whether any attack can win: ``robench exam``.

The models are small, and made from fixed seeds by NumPy, so that they are the same everywhere.
"""
