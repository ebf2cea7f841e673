"""Bounds that no attack can beat: intervals and linear bounds (CROWN) of chains of linear layers and ReLUs."""
