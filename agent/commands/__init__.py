"""What the commands beside ``run`` do: each prints for people and returns an exit code."""
