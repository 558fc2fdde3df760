"""How results are shown: text and figures, made from saved results only."""
