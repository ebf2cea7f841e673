"""How a model is run safely and fast."""
