"""Certificates: what proves of images that they stand."""
