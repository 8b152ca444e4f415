"""What a run gave, for people: tables, one page with plots, comparisons of runs. Numpy, scipy, matplotlib; no torch."""
