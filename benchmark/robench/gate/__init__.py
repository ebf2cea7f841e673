"""The gate: what the harness tries by itself to disprove a number, and what it makes of what it found.

A *probe* runs while the models are at hand and returns plain figures, which are stored. A *check* weighs the figures,
the outcomes and the other cells of the comparison group, and returns one entry of the card's verdict. Both for one
subject are in one file.
"""
