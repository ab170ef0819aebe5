"""The solver comparison: equal accuracy, measured here, each solve in a process of its own."""
