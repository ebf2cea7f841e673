"""From what is typed to the cells it stands for; nothing is loaded and torch is not imported."""
