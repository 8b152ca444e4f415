"""Error rates of verification scores and the quality of clusterings; numpy and scipy only."""
