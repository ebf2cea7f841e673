"""What the columns of the pages mean, said once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from robench_leaderboard.ranking.board import Board

#: Said where anything is certified.
CERTIFIED = (
    "certified",
    "is the lower end of a bracket whose upper end is robust: images of which a certificate says that nothing in the "
    "ball is answered otherwise than by their label, with a Wilson 95 % interval. It ranks nothing. A certified image "
    "that falls to any attack makes the row INVALID.",
)

TERMS = (
    (
        "clean and robust",
        "are percentages of the n test images with Wilson 95 % intervals. An image counts as robust only if it "
        "withstood every attack of the row. The attacks are adaptive: white-box means through the defended victim end "
        "to end, through its straight-through path (BPDA), or in expectation over its draws (EOT), as the defense "
        "declares; one without gradients is attacked by queries. A row without such an attack has no robust accuracy.",
    ),
    (
        "rank:",
        "rows that share a rank are not told apart by exact McNemar tests on the same images at 5 %, Holm-corrected "
        "over all pairs of the table. Different images, n, norm, eps, resolution or protocol are different tables; a "
        "table that names no protocol follows none. Only VALID rows are ranked.",
    ),
    (
        "gain",
        "is the robust accuracy minus that of the same victim undefended, same seed; tax is the clean accuracy of that "
        "victim minus the row's. Both are in points, with Tango's 95 % score interval for paired proportions.",
    ),
    (
        "top-5",
        "counts an image where its label is among the five highest logits (R@5 where each image is a class of its own, "
        "as with captions); of the robust ones it is the lowest over the end-to-end attacks.",
    ),
    (
        "transfer,",
        "per surrogate, is the lowest accuracy over the attacks crafted on that surrogate. It is not robustness: an "
        "attacker who knows the defense does better. 'self' is the undefended victim: what a static, non-adaptive "
        "evaluation would report.",
    ),
    (
        "several seeds:",
        "mean, standard deviation over the seeds, and a 95 % interval in which seeds and images both count as samples "
        "(two-way random effects).",
    ),
    (
        "cost:",
        "trainable parameters, of all where the cards say how many; seconds and joules to fit; milliseconds, forwards "
        "and backwards per image to craft, summed over the white-box attacks; milliseconds per image to score; the "
        "largest peak memory (10^6 bytes). "
        "Clocks hold for the device named. Pareto front: no ranked row is as robust for fewer trainable parameters, "
        "less time to fit, or less time to score; clocks are compared on one device only.",
    ),
    (
        "verdict",
        "is the worst that the gate found over the row's cards: VALID, SUSPECT (do not rely on it) or INVALID "
        "(disproved).",
    ),
    (
        "evidence",
        "is how far the row's least checked card was checked, by whoever attests it beside the cards. 'reported': its "
        "figures agree with each other, and nothing more is known. 'evidence checked': stored answers and adversarial "
        "images give its numbers. 're-run by n others': n computed it again, and it repeats.",
    ),
)


def terms_of(found: Sequence[Board]) -> tuple[tuple[str, str], ...]:
    """Return what the columns of these rankings mean."""
    return (TERMS[0], CERTIFIED, *TERMS[1:]) if any(board.has_certified for board in found) else TERMS
