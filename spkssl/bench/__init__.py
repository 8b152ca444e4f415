"""Speed and memory of the toolkit, beside others measured in the same run where pip has them."""
