"""Controller applications of one's own: `--controller experiments/controllers/NAME.py`."""
