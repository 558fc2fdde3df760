"""`tb vm`: experiments on other machines, one module for each group of verbs."""
