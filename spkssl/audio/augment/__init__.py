"""Noise, reverberation, equalisation and masks: what is drawn (`plan`) and how it is applied (`wave`, `feats`)."""
