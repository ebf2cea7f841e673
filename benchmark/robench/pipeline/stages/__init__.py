"""The stages of a cell, one verb a file; a stage never imports another."""
