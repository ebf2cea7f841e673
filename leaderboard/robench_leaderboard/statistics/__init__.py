"""Compare outcomes of the same images: paired differences, significance, spread over seeds; knows no card."""
