"""One explicit loop for every method, and what it needs to stop at any step and go on as if nothing had happened."""
