"""What the programs of bench/ share. Standard library only."""
