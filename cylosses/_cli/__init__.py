"""What the commands of `cylosses.cli` need. Of the package it has public names only; the demo has the solver in `_fit`, too."""
