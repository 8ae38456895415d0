"""What is timed and how: the harness, the works, their floors, the rows of the suite, the machine and the record of a run."""
