"""Pure functions of tensors: losses, targets, gates and votes of all systems. Imports torch and nothing of ours."""
